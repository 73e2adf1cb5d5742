package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// floorSQL reads what vm's own query for one host reads, in the same joins. It is the floor's: nothing else uses it.
const floorSQL = `SELECT h.id, h.uuid::text, h.name, h.comment, h.state, h.domain, h.cpu_number, h.ram_mib, h.anti_spoofing, h.mac::text,
	h.created_at, c.id, c.name, n.id, n.name, n.endpoint, n.bridge, n.maintenance, h.account_id, coalesce(a.email, ''), o.id, coalesce(nullif(o.title, ''), o.name),
	o.os_group, d.id, d.name, d.size_mib, d.size_mib_new, d.disk_count,
	ARRAY(SELECT host(x.addr) FROM host_address x WHERE x.host_id = h.id AND x.family = 4 ORDER BY x.position),
	ARRAY(SELECT host(x.addr) FROM host_address x WHERE x.host_id = h.id AND x.family = 6 ORDER BY x.position),
	(SELECT j.id FROM job j WHERE j.key = 'host/' || h.id AND j.state IN ('queued', 'running', 'undoing') ORDER BY j.id LIMIT 1),
	CASE WHEN h.balanced THEN 'on' ELSE 'off' END, CASE WHEN h.state = 'active' THEN coalesce(extract(epoch FROM now() - h.started_at), 0)::int ELSE 0 END,
	NOT EXISTS (SELECT FROM host_address x WHERE x.host_id = h.id AND x.state <> 'active'), h.is_protected, h.autostart, h.tags,
	coalesce(h.cpu_number_new, h.cpu_number), coalesce(h.ram_mib_new, h.ram_mib), h.limits, h.limits_new, 'growth' = ANY(n.features)
	FROM host h
	JOIN cluster c ON c.id = h.cluster_id
	JOIN node n ON n.id = h.node_id
	JOIN os o ON o.id = h.os_id
	LEFT JOIN account a ON a.id = h.account_id
	CROSS JOIN LATERAL (
		SELECT k.id, k.name, coalesce(k.had_mib, k.size_mib) AS size_mib, k.size_mib AS size_mib_new, (SELECT count(*)::int FROM disk z WHERE z.host_id = h.id) AS disk_count
		FROM disk k WHERE k.host_id = h.id ORDER BY k.boot_order LIMIT 1) d
	WHERE h.id = $2 AND ($1 = 0 OR h.account_id = $1)`

type named struct {
	ID   int32  `json:"id"`
	Name string `json:"name"`
}

type floorIP struct {
	IP        string `json:"ip"`
	Interface string `json:"interface"`
}

// floorHost is the answer of the API, byte for byte in length.
type floorHost struct {
	ID        int32  `json:"id"`
	Name      string `json:"name"`
	Comment   string `json:"comment"`
	State     string `json:"state"`
	Domain    string `json:"domain"`
	CPUNumber int32  `json:"cpu_number"`
	RAMMiB    int32  `json:"ram_mib"`
	Disk      struct {
		ID      int32  `json:"id"`
		DiskMiB int32  `json:"disk_mib"`
		Name    string `json:"name"`
		New     int32  `json:"disk_mib_new"`
	} `json:"disk"`
	DiskCount int32 `json:"disk_count"`
	Cluster   struct {
		named
		DatacenterType     string `json:"datacenter_type"`
		VirtualizationType string `json:"virtualization_type"`
		ImageStoragePath   string `json:"image_storage_path"`
	} `json:"cluster"`
	Node struct {
		named
		IPAddr          string `json:"ip_addr"`
		MaintenanceMode bool   `json:"maintenance_mode"`
		LiveMigration   bool   `json:"live_migration_allowed"`
		HotPlugMemory   bool   `json:"hot_plug_memory"`
	} `json:"node"`
	Account struct {
		ID    int32  `json:"id"`
		Email string `json:"email"`
	} `json:"account"`
	OS               named       `json:"os"`
	OSName           string      `json:"os_name"`
	OSGroup          string      `json:"os_group"`
	IP4              []floorIP   `json:"ip4"`
	IP6              []floorIP   `json:"ip6"`
	Interfaces       []floorCard `json:"interfaces"`
	AntiSpoofing     bool        `json:"anti_spoofing"`
	CreateDate       string      `json:"create_date"`
	InternalName     string      `json:"internal_name"`
	CPUMode          string      `json:"cpu_mode"`
	Nesting          bool        `json:"nesting"`
	HotPlug          bool        `json:"hot_plug"`
	LiveResize       bool        `json:"live_resize"`
	EFIBoot          bool        `json:"efi_boot"`
	Disabled         bool        `json:"disabled"`
	RescueMode       bool        `json:"rescue_mode"`
	ISOMounted       bool        `json:"iso_mounted"`
	SnapshotsAllowed bool        `json:"snapshots_allowed"`
	SnapshotCount    int32       `json:"snapshot_count"`
	SnapshotLimit    int32       `json:"snapshot_limit"`
	SpiceEnabled     bool        `json:"spice_enabled"`
	IsProtected      bool        `json:"is_protected"`
	Tags             []string    `json:"tags"`
	Task             *int32      `json:"task"`
	floorRest
}

// floorCard is an interface of a host.
type floorCard struct {
	HostInterface string `json:"host_interface"`
	MAC           string `json:"mac"`
	DHCP          bool   `json:"dhcp"`
	NodeInterface int32  `json:"node_interface"`
	Bridge        string `json:"bridge"`
}

// serveFloor answers GET /host/{id} as directly as Go can: net/http, pgx, encoding/json, no authentication.
func serveFloor(ctx context.Context, addr, url string) error {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return err
	}
	cfg.ConnConfig.RuntimeParams["search_path"] = "vm"
	cfg.MaxConns = 16
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer pool.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /page", func(w http.ResponseWriter, r *http.Request) { writePage(w, r, pool) })
	mux.HandleFunc("GET /console", carryConsole)
	mux.HandleFunc("GET /host/{id}", func(w http.ResponseWriter, r *http.Request) {
		id, err := strconv.ParseInt(r.PathValue("id"), 10, 32)
		if err != nil {
			http.Error(w, "id", http.StatusBadRequest)
			return
		}
		h, err := readFloor(r.Context(), pool, int32(id))
		if errors.Is(err, pgx.ErrNoRows) {
			http.NotFound(w, r)
			return
		}
		text, jsonErr := json.Marshal(h)
		if err != nil || jsonErr != nil {
			http.Error(w, "internal", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(text)
	})
	srv := &http.Server{Addr: addr, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	if err := srv.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func readFloor(ctx context.Context, pool *pgxpool.Pool, id int32) (*floorHost, error) {
	return scanFloor(pool.QueryRow(ctx, floorSQL, int32(0), id))
}

// scanFloor reads a host from a row of vm's columns.
func scanFloor(row pgx.Row) (*floorHost, error) {
	h := &floorHost{CPUMode: "default", Tags: []string{}, IP4: []floorIP{}, IP6: []floorIP{}}
	h.Cluster.DatacenterType, h.Cluster.VirtualizationType, h.Node.IPAddr = "common", "kvm", "127.0.0.1"
	h.Interfaces = append(h.Interfaces, floorCard{HostInterface: "eth0"})
	h.IPAutomation, h.FirewallRules = "cloud-init", []string{}
	var created time.Time
	var endpoint string
	var ip4, ip6 []string
	var limits []byte // the hosts of the bench have none
	err := row.Scan(
		&h.ID, &h.InternalName, &h.Name, &h.Comment, &h.State, &h.Domain, &h.CPUNumber, &h.RAMMiB, &h.AntiSpoofing, &h.Interfaces[0].MAC,
		&created, &h.Cluster.ID, &h.Cluster.Name, &h.Node.ID, &h.Node.Name, &endpoint, &h.Interfaces[0].Bridge,
		&h.Node.MaintenanceMode, &h.Account.ID, &h.Account.Email, &h.OS.ID, &h.OS.Name, &h.OSGroup, &h.Disk.ID, &h.Disk.Name,
		&h.Disk.DiskMiB, &h.Disk.New, &h.DiskCount, &ip4, &ip6, &h.Task, &h.BalancerMode, &h.Uptime, &h.NetIsSynced, &h.IsProtected,
		&h.Autostart, &h.Tags, &h.CPUNumberNew, &h.RAMMiBNew, &limits, &limits, &h.Node.HotPlugMemory)
	h.IPSummary = strings.Join(append(ip4[:len(ip4):len(ip4)], ip6...), ", ")
	h.OSName, h.CreateDate = h.OS.Name, created.UTC().Format(time.DateTime)
	for _, ip := range ip4 {
		h.IP4 = append(h.IP4, floorIP{ip, "eth0"})
	}
	for _, ip := range ip6 {
		h.IP6 = append(h.IP6, floorIP{ip, "eth0"})
	}
	return h, err
}
