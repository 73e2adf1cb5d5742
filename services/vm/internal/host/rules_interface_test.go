package host

import (
	"slices"
	"testing"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/vm/internal/disk"
)

// TestTakeInterface: the interface stands for the fields that ask for the same, and may not contradict them.
func TestTakeInterface(t *testing.T) {
	t.Parallel()
	number, yes, no := func(n int32) *int32 { return &n }, true, false
	for name, tt := range map[string]struct {
		s     createSpec
		field string // at fault; "" for none
		want  createSpec
	}{
		"nothing":         {s: createSpec{IPv4Number: 1}, want: createSpec{IPv4Number: 1}},
		"empty":           {s: createSpec{IPv4Number: 1, Interfaces: []card{{}}}, want: createSpec{IPv4Number: 1}},
		"address":         {s: createSpec{IPv4Number: 1, Interfaces: []card{{Address: "192.0.2.7", Count: number(1)}}}, want: createSpec{IPv4Number: 1, Address: "192.0.2.7"}},
		"address twice":   {s: createSpec{IPv4Number: 1, Address: "192.0.2.7", Interfaces: []card{{Address: "192.0.2.7"}}}, want: createSpec{IPv4Number: 1, Address: "192.0.2.7"}},
		"pool":            {s: createSpec{IPv4Number: 1, Interfaces: []card{{Pool: 4, Main: &yes}}}, want: createSpec{IPv4Number: 1, IPv4Pools: []int32{4}}},
		"pool twice":      {s: createSpec{IPv4Number: 1, IPv4Pools: []int32{4}, Interfaces: []card{{Pool: 4}}}, want: createSpec{IPv4Number: 1, IPv4Pools: []int32{4}}},
		"count":           {s: createSpec{IPv4Number: 1, Interfaces: []card{{Count: number(3)}}}, want: createSpec{IPv4Number: 3}},
		"none":            {s: createSpec{IPv4Number: 1, Interfaces: []card{{None: true}}}},
		"none, of none":   {s: createSpec{IPv4Given: true, Interfaces: []card{{None: true, Count: number(0)}}}},
		"two":             {s: createSpec{Interfaces: []card{{}, {}}}, field: "custom_interfaces[1]"},
		"not main":        {s: createSpec{Interfaces: []card{{Main: &no}}}, field: "custom_interfaces[0].is_main_network"},
		"no MAC":          {s: createSpec{Interfaces: []card{{MAC: "here"}}}, field: "custom_interfaces[0].mac"},
		"MAC of a group":  {s: createSpec{Interfaces: []card{{MAC: "01:00:5e:00:00:01"}}}, field: "custom_interfaces[0].mac"},
		"MAC of nothing":  {s: createSpec{Interfaces: []card{{MAC: "00:00:00:00:00:00"}}}, field: "custom_interfaces[0].mac"},
		"long MAC":        {s: createSpec{Interfaces: []card{{MAC: "02:00:5e:10:00:00:00:01"}}}, field: "custom_interfaces[0].mac"},
		"other count":     {s: createSpec{IPv4Number: 1, IPv4Given: true, Interfaces: []card{{Count: number(2)}}}, field: "custom_interfaces[0].ip_count"},
		"other address":   {s: createSpec{Address: "192.0.2.8", Interfaces: []card{{Address: "192.0.2.7"}}}, field: "custom_interfaces[0].ip_name"},
		"other pool":      {s: createSpec{IPv4Pools: []int32{1, 4}, Interfaces: []card{{Pool: 4}}}, field: "custom_interfaces[0].ippool"},
		"none and one":    {s: createSpec{IPv4Number: 1, IPv4Given: true, Interfaces: []card{{None: true}}}, field: "custom_interfaces[0].no_ip"},
		"none and IPv6":   {s: createSpec{IPv6: true, Interfaces: []card{{None: true}}}, field: "custom_interfaces[0].no_ip"},
		"none and a pool": {s: createSpec{Interfaces: []card{{None: true, Pool: 3}}}, field: "custom_interfaces[0].no_ip"},
	} {
		err := tt.s.takeInterface()
		if tt.field != "" {
			if f, ok := fault.From(err); !ok || f.Field != tt.field {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if s := tt.s; err != nil || s.Address != tt.want.Address || s.IPv4Number != tt.want.IPv4Number || !slices.Equal(s.IPv4Pools, tt.want.IPv4Pools) {
			t.Errorf("%s: %+v %v", name, s, err)
		}
	}
}

// TestHDDAndDisks: the size of the boot disk may come by either field, and by both only if they agree.
func TestHDDAndDisks(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		hdd   int32
		disks []disk.Disk
		want  int32
		fails bool
	}{
		{0, nil, 0, false},
		{100, nil, 100, false},
		{0, []disk.Disk{{SizeMiB: 200}}, 200, false},
		{200, []disk.Disk{{SizeMiB: 200}, {SizeMiB: 300}}, 200, false},
		{200, []disk.Disk{{SizeMiB: 300, BootOrder: 2}, {SizeMiB: 200, BootOrder: 1}}, 200, false},
		{100, []disk.Disk{{SizeMiB: 200}}, 0, true},
		{-1, nil, 0, true},
	} {
		s := createSpec{HDD: tt.hdd, Disks: tt.disks}
		err := s.checkSize()
		if (err != nil) != tt.fails || err == nil && len(s.Disks) > 0 && s.Disks[0].SizeMiB != tt.want {
			t.Errorf("%d with %v: %v %v", tt.hdd, tt.disks, s.Disks, err)
		}
	}
}
