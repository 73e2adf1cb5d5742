package arch

// ip is the ip service. Addresses stand last: a claim chooses among pools, and a pool gives addresses of networks.
var ip = house{
	service: "ip",
	order:   "setting rdns network pool address",
	apart:   "schema message inet",
	common:  "timeline",
	tables: map[string]string{
		"setting": "setting",
		"rdns":    "ptr",
		"network": "network",
		"pool":    "pool pool_cluster pool_range account_left",
		"address": "address address_history",
	},
	reaches: map[string]string{
		"network/list.go":          "pool_range address",
		"network/list_stats.go":    "pool_range address",
		"pool/list.go":             "address",
		"pool/build_range.go":      "network",
		"address/list.go":          "pool_range network pool ptr",
		"address/build_rows.go":    "pool_range network",
		"address/build_history.go": "pool_range",
		"address/build_claim.go":   "pool pool_cluster pool_range network",
	},
}
