package arch

// vm declares the rooms of vm: task ← account ← cluster ← node ← image, the parts of a host, the host, and what is done
// with a host.
var vm = house{
	service: "vm",
	order: "listing task account cluster node image disk address machine tag host " +
		"power ipchange resource volume " +
		"console metrics " +
		"leftover watch fsck " +
		"owner reinstall guest rescue iso attach " +
		"events worker api",
	apart:  "schema",
	common: "job job_step timeline",
	tables: map[string]string{
		"account": "account account_usage",
		"cluster": "cluster cluster_pool",
		"console": "console_ticket",
		"node":    "node installation",
		"image":   "os os_node",
		"disk":    "disk",
		"tag":     "tag",
		"task":    "task_limit",
		// Their rows live as long as their jobs.
		"reinstall": "reinstall",
		"guest":     "password_change",
		"address":   "host_address network",
		"host":      "host host_count host_count_of host_total host_share host_change tombstone",
		// The breaker of a node is a part of the node's row.
		"leftover": "stranger reaped",
	},
	reaches: map[string]string{
		"account/list.go":       "host disk",
		"cluster/list.go":       "node host_count host_count_of",
		"node/list.go":          "cluster host os_node",
		"node/build.go":         "cluster os_node",
		"image/list.go":         "node cluster",
		"image/build.go":        "node",
		"address/list.go":       "host",
		"address/build.go":      "host",
		"tag/list.go":           "host",
		"machine/build.go":      "host node cluster",
		"host/list.go":          "account cluster node os disk host_address",
		"host/list_metadata.go": "node disk host_address",
		"host/build.go":         "cluster os account_usage disk host_address node",
		"reinstall/build.go":    "host disk os os_node",
		"rescue/build.go":       "host os os_node",
		"ipchange/list.go":      "host",
		"resource/list.go":      "node os_node",
		"console/list.go":       "host node",
		"metrics/list.go":       "host",
		"volume/list.go":        "disk host node cluster account",
		"volume/build.go":       "disk host node",
		"disk/list.go":          "host",
		"watch/list.go":         "host host_address tombstone",
		"leftover/list.go":      "node installation host tombstone",
		"fsck/list.go":          "node host disk host_address account_usage host_count host_count_of",
	},
}
