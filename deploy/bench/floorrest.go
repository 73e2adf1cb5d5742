package main

// floorRest are the fields of a host that say little but are in every answer.
type floorRest struct {
	VXLAN                *struct{} `json:"vxlan"`
	CPUNumberNew         int32     `json:"cpu_number_new"`
	RAMMiBNew            int32     `json:"ram_mib_new"`
	NetBandwidth         int32     `json:"net_bandwidth_mbitps"`
	NetBandwidthChanged  bool      `json:"net_bandwidth_mbitps_changed"`
	IPAutomation         string    `json:"ip_automation"`
	IPSummary            string    `json:"ip_summary"`
	NetIsSynced          bool      `json:"net_is_synced"`
	Uptime               int32     `json:"uptime"`
	ISOReboot            bool      `json:"iso_reboot"`
	ISOStatus            string    `json:"iso_status"`
	CPUCustomModel       string    `json:"cpu_custom_model"`
	CPUWeight            int32     `json:"cpu_weight"`
	IOWeight             int32     `json:"io_weight"`
	IORead               int32     `json:"io_read_mbitps"`
	IOWrite              int32     `json:"io_write_mbitps"`
	IOReadIOPS           int32     `json:"io_read_iops"`
	IOWriteIOPS          int32     `json:"io_write_iops"`
	NetIn                int32     `json:"net_in_mbitps"`
	NetOut               int32     `json:"net_out_mbitps"`
	NetWeight            int32     `json:"net_weight"`
	AntiSpoofingSettings struct {
		VLAN bool `json:"vlan"`
	} `json:"anti_spoofing_settings"`
	TCPIn              int32     `json:"tcp_connections_in"`
	TCPOut             int32     `json:"tcp_connections_out"`
	ProcessNumber      int32     `json:"process_number"`
	FirewallRules      []string  `json:"firewall_rules"`
	HasNonameIface     bool      `json:"has_noname_iface"`
	ExtendedProtection bool      `json:"extended_protection"`
	SnapshotRAM        bool      `json:"snapshot_ram"`
	BalancerMode       string    `json:"balancer_mode"`
	LinkedCloneImage   *struct{} `json:"linked_clone_image"`
	ExpandPart         string    `json:"expand_part"`
	Restrictions       struct {
		NetIfaceCount      bool `json:"net_iface_count"`
		NATOrExtra         bool `json:"nat_or_extra"`
		IPv6               bool `json:"ipv6"`
		UnsupportedStorage bool `json:"unsupported_storage"`
		ISO                bool `json:"iso"`
		Snapshot           bool `json:"snapshot"`
	} `json:"vm5_restrictions"`
	Autostart bool `json:"autostart"`
}
