package fsck

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/uuid"
)

var (
	web = uuid.MustParse("11111111-1111-4111-8111-111111111111")
	db  = uuid.MustParse("22222222-2222-4222-8222-222222222222")
	gap = uuid.MustParse("33333333-3333-4333-8333-333333333333")
	vol = uuid.MustParse("44444444-4444-4444-8444-444444444444")
	way = uuid.MustParse("55555555-5555-4555-8555-555555555555")
)

// rest is an installation at rest: two nodes, two hosts, a disk without a host, and a host and a disk that jobs work on.
func rest() World {
	return World{
		Hosts: []Recorded{
			{ID: 1, UUID: web, NodeID: 1, AccountID: 4, State: "active", Disks: []string{"disk0", "disk1"}, Addresses: []int32{10, 11}},
			{ID: 2, UUID: db, NodeID: 2, AccountID: 5, State: "stopped", Disks: []string{"disk0"}, Addresses: []int32{12}},
			{ID: 3, UUID: gap, NodeID: 2, AccountID: 5, State: "creating", Busy: true, Disks: []string{"disk0"}, Addresses: []int32{13}},
		},
		Disks: []Loose{
			{ID: 7, UUID: vol, NodeID: 1, AccountID: 1, Name: "vol7"}, {ID: 8, UUID: way, Name: "disk1", Busy: true},
		},
		Traces: map[int32][]Trace{
			1: {{UUID: web, Defined: true, Disks: []string{"disk0", "disk1"}, Seed: true}, {UUID: vol, Disks: []string{"vol7"}}},
			2: {{UUID: way, Disks: []string{"vol8"}}, {UUID: db, Defined: true, Disks: []string{"disk0"}, Seed: true}, {UUID: gap, Partial: []string{"disk0.qcow2.partial"}}},
		},
		Held: []Held{
			{10, "192.0.2.10", web.String(), true, 4},
			{11, "192.0.2.11", web.String(), true, 0},
			{12, "192.0.2.12", db.String(), true, 5},
			{13, "192.0.2.13", gap.String(), false, 5},
			{14, "192.0.2.14", uuid.NewString(), false, 6}, // of a request under way
		},
		HeldSeen: true,
		Bridges: map[int32][]Bridge{
			1: {{Name: "br0", Addresses: prefixesOf("192.0.2.1/24"), NAT: prefixesOf("192.0.2.0/24")}},
			2: {{Name: "br0", Addresses: prefixesOf("192.0.2.1/24")}},
		},
		Accounts: map[int32]bool{1: true, 4: true, 5: true},
	}
}

func prefixesOf(texts ...string) []netip.Prefix {
	list, err := prefixes(texts)
	if err != nil {
		panic(err)
	}
	return list
}

// Each damage is found, and nothing else is.
func TestCompare(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		damage func(*World)
		want   []string
	}{
		{"none", func(*World) {}, nil},
		{"orphan machine", func(w *World) {
			w.Traces[1] = append(w.Traces[1], Trace{UUID: uuid.Nil, Defined: true})
		}, []string{machineOrphan}},
		{"orphan disk of no host", func(w *World) {
			w.Traces[1] = append(w.Traces[1], Trace{UUID: uuid.Nil, Disks: []string{"disk0"}})
		}, []string{machineOrphan}},
		{"empty directory", func(w *World) { w.Traces[1] = append(w.Traces[1], Trace{UUID: uuid.Nil}) }, []string{machineOrphan}},
		{"orphan disk of a host", func(w *World) { w.Traces[1][0].Disks = append(w.Traces[1][0].Disks, "disk7") }, []string{diskOrphan}},
		{"unfinished file", func(w *World) { w.Traces[1][0].Partial = []string{"seed.iso.partial"} }, []string{filePartial}},
		{"rules of no machine", func(w *World) { w.Rules = map[int32][]string{1: {"t0123456789abcd"}} }, []string{rulesOrphan}},
		{"an address of a network without hosts", func(w *World) {
			w.Bridges[2][0].Addresses = prefixesOf("192.0.2.1/24", "198.51.100.1/24")
		}, []string{networkOrphan}},
		{"a translation for hosts of another node", func(w *World) { w.Bridges[2][0].NAT = prefixesOf("192.0.2.10/31") }, []string{networkOrphan}},
		{"a network of a machine without a host", func(w *World) {
			w.Traces[1] = append(w.Traces[1], Trace{UUID: uuid.Nil, Defined: true})
			w.Held = append(w.Held, Held{20, "198.51.100.9", uuid.Nil.String(), false, 0})
			w.Bridges[1][0].Addresses = prefixesOf("192.0.2.1/24", "198.51.100.1/24")
		}, []string{machineOrphan}},
		{"a template left out", func(w *World) {
			w.LeftOut = map[int32][]LeftOut{1: {{File: "bad.json", Reason: "the image has a backing file"}}}
		}, []string{templateBad}},
		{"a change that no task makes", func(w *World) { w.Hosts[0].Unsettled = true }, []string{changeStuck}},
		{"a change under way", func(w *World) { w.Hosts[2].Unsettled = true }, nil},
		{"no machine", func(w *World) { w.Traces[1][0].Defined = false }, []string{machineMissing}},
		{"no disk", func(w *World) { w.Traces[1][0].Disks = []string{"disk0"} }, []string{diskMissing}},
		{"no seed", func(w *World) { w.Traces[1][0].Seed = false }, []string{diskMissing}},
		{"nothing at all", func(w *World) { w.Traces[2] = nil }, []string{machineMissing, diskMissing}},
		{"on two nodes", func(w *World) { w.Traces[2] = append(w.Traces[2], w.Traces[1][0]) }, []string{machineTwice}},
		{"a node that does not answer", func(w *World) { delete(w.Traces, 1) }, nil},
		{"orphan address", func(w *World) {
			w.Held = append(w.Held, Held{20, "192.0.2.20", uuid.NewString(), true, 4})
		}, []string{addressOrphan}},
		{"address that the host does not use", func(w *World) {
			w.Held = append(w.Held, Held{20, "192.0.2.20", web.String(), true, 4})
		}, []string{addressOrphan}},
		{"free address in use", func(w *World) { w.Held = w.Held[1:] }, []string{addressMissing}},
		{"address of two hosts", func(w *World) { w.Hosts[1].Addresses = []int32{12, 10} }, []string{addressMissing}},
		{"address never confirmed", func(w *World) { w.Held[0].Assigned = false }, []string{addressMissing}},
		{"ip does not answer", func(w *World) { w.Held, w.HeldSeen = nil, false }, nil},
		{"no disk in its place", func(w *World) { w.Traces[1] = w.Traces[1][:1] }, []string{diskMissing}},
		{"another disk in its place", func(w *World) { w.Traces[1][1].Disks = []string{"vol7", "vol9"} }, []string{diskOrphan}},
		{"an unfinished disk", func(w *World) { w.Traces[1][1].Partial = []string{"vol7.qcow2.partial"} }, []string{filePartial}},
		{"a disk on another node", func(w *World) { w.Disks[0].NodeID = 2 }, []string{diskOrphan, diskMissing}},
		{"a disk without an owner", func(w *World) { w.Disks[0].AccountID = 99 }, []string{diskOwnerless}},
		{"wrong counter", func(w *World) {
			w.Counters = []Counter{{Object: "node 1", Name: "ram_allocated", Says: 1, Counted: 2}}
		}, []string{counterWrong}},
		{"address of another account", func(w *World) { w.Held[2].Account = 4 }, []string{addressAccount}},
		{"no account", func(w *World) { delete(w.Accounts, 4) }, []string{hostOwnerless}},
		{"no account, and a job", func(w *World) { w.Hosts[2].AccountID, w.Held[3].Account = 9, 9 }, []string{hostOwnerless}},
		{"no account at all", func(w *World) { w.Accounts = map[int32]bool{} }, []string{hostOwnerless, hostOwnerless, hostOwnerless, diskOwnerless}},
		{"auth does not answer", func(w *World) { w.Accounts = nil }, nil},
		{"stuck host", func(w *World) { w.Hosts[2].Busy = false }, []string{hostStuck}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := rest()
			tt.damage(&w)
			var got []string
			for _, f := range Compare(w) {
				got = append(got, f.Kind)
				if f.Object == "" || f.Detail == "" {
					t.Errorf("it says nothing: %+v", f)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("found %v, want %v", Compare(w), tt.want)
			}
		})
	}
}
