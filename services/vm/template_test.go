package vm_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	nodepb "slipway.dev/proto/node/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgtest"
	"slipway.dev/services/vm/internal/schema"
)

const secondNode = "22222222-2222-3333-4444-555555555555"

// holds is a sign of life of a node that holds these templates.
func (w *world) holds(node string, list ...*nodepb.Template) int32 {
	w.Helper()
	resp, err := w.sign(func(r *vmpb.RegisterNodeRequest) {
		r.Description.Uuid, r.Description.Templates = node, list
	})
	if err != nil {
		w.Fatal(err)
	}
	return resp.GetId()
}

func tiny(sum string, ram, disk int32) *nodepb.Template {
	return &nodepb.Template{Name: "tiny", Sha256: sum, MinRamMib: ram, MinDiskMib: disk}
}

// begun makes a host on a node and returns what its machine begins as.
func (w *world) begun(node int32, name string) *vmpb.Host {
	w.Helper()
	r := wish(name)
	r.Node = &node
	c := w.create(w.admin(), r)
	if s := w.done(c.GetTask()); s != "complete" {
		w.Fatalf("create on node %d is %s", node, s)
	}
	h, err := w.hosts().GetHost(w.admin(), &vmpb.GetHostRequest{Id: c.GetId()})
	if err != nil {
		w.Fatal(err)
	}
	return h
}

// TestTemplateOfTheNode: two nodes hold one OS in two versions. A host begins as the version of its node, and needs what
// that needs; what one node says changes nothing for the other one.
func TestTemplateOfTheNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	second := w.holds(secondNode, tiny("def", 256, 100))
	first := func() int32 { return w.holds(nodeUUID, tiny("abc", 128, 64)) }
	for i, tt := range []struct {
		node      int32
		sum       string
		ram, disk int32
	}{{first(), "abc", 128, 64}, {second, "def", 256, 100}, {first(), "abc", 128, 64}, {w.holds(secondNode, tiny("def", 256, 100)), "def", 256, 100}} {
		h := w.begun(tt.node, fmt.Sprint("h", i))
		if m := w.agent.machine(h.GetInternalName()); m.template != tt.sum || h.GetRamMib() != tt.ram || h.GetDisk().GetDiskMib() != tt.disk {
			t.Errorf("on node %d a host begins as %q with %d and %d MiB", tt.node, m.template, h.GetRamMib(), h.GetDisk().GetDiskMib())
		}
	}
	number := func(n int32) *int32 { return &n }
	for name, tt := range map[string]struct {
		node, ram, disk int32
		field           string
	}{
		"RAM for the first":   {1, 128, 64, ""},
		"RAM for the second":  {second, 128, 100, "ram_mib"},
		"disk for the second": {second, 256, 64, "hdd_mib"},
		"either":              {0, 200, 64, ""},
	} {
		r := wish("sized")
		r.Node, r.RamMib, r.HddMib = &tt.node, number(tt.ram), number(tt.disk)
		_, err := w.hosts().CreateHost(w.admin(), r)
		if f, refused := fault.From(err); refused != (tt.field != "") || refused && (f.Field != tt.field || !errors.Is(f, fault.Invalid)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for range 3 {
		w.holds(secondNode, tiny("def", 256, 100))
		if o := w.os(1); o.GetSha256() != "abc" || o.GetMinRamMib() != 128 || o.GetHddMibRequired() != 64 {
			t.Errorf("the list shows %v", o)
		}
		first()
	}
	w.holds("33333333-2222-3333-4444-555555555555", tiny("def", 256, 100))
	if o := w.os(1); o.GetSha256() != "def" || o.GetMinRamMib() != 256 || o.GetHddMibRequired() != 100 {
		t.Errorf("the list does not show what most nodes hold: %v", o)
	}
}

// os is how the list shows an OS.
func (w *world) os(id int32) *vmpb.OS {
	w.Helper()
	resp, err := vmpb.NewOSServiceClient(w.conn).ListOS(w.admin(), &vmpb.ListOSRequest{Query: where("id", fmt.Sprint(id))})
	if err != nil || len(resp.GetList()) != 1 {
		w.Fatalf("OS %d: %v %v", id, resp, err)
	}
	return resp.GetList()[0]
}

// TestTemplateGoes: what a sign of life does not name is no longer on the node, and comes back when it is named again.
func TestTemplateGoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	second := w.holds(secondNode, tiny("def", 128, 64))
	w.holds(secondNode)
	r := wish("nowhere")
	r.Node = &second
	_, err := w.hosts().CreateHost(w.admin(), r)
	if f, ok := fault.From(err); !ok || f.Reason != "NO_CAPACITY" || f.Field != "os" {
		t.Errorf("a create on a node that lost the template: %v", err)
	}
	if m := w.agent.machine(w.begun(w.nodeID, "elsewhere").GetInternalName()); m.template != "abc" {
		t.Errorf("on the other node a host begins as %q", m.template)
	}
	w.holds(secondNode, tiny("def", 128, 64))
	w.begun(second, "again")
}

// TestTemplatesLeftOut: a sign of life without the list changes nothing, and says what vm knows of the list.
func TestTemplatesLeftOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	leftOut := func(asOf string) string {
		t.Helper()
		resp, err := w.sign(func(r *vmpb.RegisterNodeRequest) { r.Description.Templates, r.TemplatesAsOf = nil, &asOf })
		if err != nil {
			t.Fatal(err)
		}
		return resp.GetTemplates()
	}
	listed, err := w.sign(func(*vmpb.RegisterNodeRequest) {})
	if err != nil || listed.GetTemplates() == "" {
		t.Fatalf("the list is not acknowledged: %v %v", listed, err)
	}
	if got := leftOut(listed.GetTemplates()); got != listed.GetTemplates() {
		t.Errorf("vm knows %q, not what it has acknowledged", got)
	}
	if got := leftOut("something else"); got != listed.GetTemplates() {
		t.Errorf("vm has taken %q in", got)
	}
	w.begun(w.nodeID, "kept")
	other, err := w.sign(func(r *vmpb.RegisterNodeRequest) { r.Description.Templates[0].Sha256 = "def" })
	if err != nil || other.GetTemplates() == listed.GetTemplates() {
		t.Errorf("another list is acknowledged as the same: %v", err)
	}
	none, err := w.sign(func(r *vmpb.RegisterNodeRequest) { r.Description.Templates = nil })
	if err != nil || none.GetTemplates() == "" {
		t.Errorf("an empty list is not acknowledged: %v", err)
	}
}

// TestSpoiltTemplates: a template that no host can begin as does not keep its node, or the node's others, out of service.
func TestSpoiltTemplates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.holds(nodeUUID, &nodepb.Template{Sha256: "nameless"}, &nodepb.Template{Name: "without a sum"}, &nodepb.Template{Name: "nul\x00", Sha256: "x"},
		tiny("abc", 128, 64), tiny("twice", 1, 1), &nodepb.Template{Name: "needs nothing", Sha256: "x", MinRamMib: -1})
	if m := w.agent.machine(w.begun(w.nodeID, "h").GetInternalName()); m.template != "abc" {
		t.Errorf("a host begins as %q", m.template)
	}
	list, err := vmpb.NewOSServiceClient(w.conn).ListOS(w.admin(), &vmpb.ListOSRequest{})
	if err != nil || list.GetSize() != 2 || list.GetList()[1].GetMinRamMib() != 1 {
		t.Errorf("OS templates %v %v", list, err)
	}
}

// TestImportAgain: an OS that some node lacks can be imported again, and stays in use meanwhile.
func TestImportAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	images := vmpb.NewOSServiceClient(w.conn)
	imported := func() error {
		op, err := images.ImportOS(w.admin(), &vmpb.ImportOSRequest{Name: "debian-12"})
		if err == nil {
			if s := w.done(op.GetTask()); s != "complete" {
				t.Fatalf("the import is %s: %v", s, w.task(op.GetTask()))
			}
		}
		return err
	}
	if err := imported(); err != nil {
		t.Fatal(err)
	}
	if f, ok := fault.From(imported()); !ok || !errors.Is(f, fault.Conflict) {
		t.Errorf("a second import of what every node holds: %v", f)
	}
	// The node's next sign of life leaves its list out: vm asks for it, since an import has changed it.
	var asOf string
	resp, err := w.sign(func(r *vmpb.RegisterNodeRequest) { r.TemplatesAsOf, r.Description.Templates = &asOf, nil })
	if err != nil || resp.GetTemplates() != "" {
		t.Errorf("after an import vm knows %q: %v", resp.GetTemplates(), err)
	}
	w.register("boot-1") // the node has lost the image
	if err := imported(); err != nil {
		t.Errorf("a second import of what a node lacks: %v", err)
	}
}

// TestTemplatesOfBefore: what the version before stored of templates is what each of its nodes holds.
func TestTemplatesOfBefore(t *testing.T) {
	t.Parallel()
	before := fstest.MapFS{}
	files, err := fs.Glob(schema.Migrations.FS, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.TrimPrefix(f, "migrations/") >= "0024" {
			continue
		}
		text, err := fs.ReadFile(schema.Migrations.FS, f)
		if err != nil {
			t.Fatal(err)
		}
		before[f] = &fstest.MapFile{Data: text}
	}
	lines := slices.Clone(schema.Lines)
	lines[len(lines)-1] = pg.Line{Name: schema.Migrations.Name, FS: before}
	pool := pgtest.New(t, lines...)
	if _, err := pool.Exec(t.Context(), `
		INSERT INTO cluster (name, domain_template) VALUES ('c', '{name}');
		INSERT INTO node (cluster_id, uuid, name, endpoint, cpu_number, cpu_model, ram_mib, storage_mib, storage_free_mib, hypervisor,
			accel, kernel_version, os_version, qemu_version, libvirt_version, boot_id, bridge)
		SELECT 1, gen_random_uuid(), 'n', 'e', 1, '', 1000, 1000, 1000, '', '', '', '', '', '', '', '' FROM generate_series(1, 2);
		INSERT INTO os (name, sha256, state, os_group, min_ram_mib, min_disk_mib) VALUES ('tiny', 'abc', 'active', 'g', 128, 64);
		INSERT INTO os_node (os_id, node_id) VALUES (1, 1), (1, 2)`); err != nil {
		t.Fatal(err)
	}
	if err := pg.Migrate(context.Background(), pool, schema.Lines...); err != nil {
		t.Fatal(err)
	}
	rows, err := pool.Query(t.Context(), `SELECT node_id || sha256 || os_group || min_ram_mib || '/' || min_disk_mib FROM os_node ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := pgx.CollectRows(rows, pgx.RowTo[string]); err != nil || !slices.Equal(got, []string{"1abcg128/64", "2abcg128/64"}) {
		t.Errorf("the nodes hold %q: %v", got, err)
	}
}

// TestSignOfLifeIsShort: a sign of life of a node that runs on is one statement in a transaction, with its templates or not.
func TestSignOfLifeIsShort(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stop()
	cfg := w.deps.Pool.Config()
	trace := &trips{of: map[*pgx.Conn][][]string{}}
	cfg.ConnConfig.Tracer = trace
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	w.deps.Pool = pool
	w.start()
	w.register("boot-1")
	if trips := trace.unitWith("UPDATE node SET name"); len(trips) != 3 || len(trips[1]) != 1 {
		t.Errorf("%d round trips: %q", len(trips), trips)
	}
}
