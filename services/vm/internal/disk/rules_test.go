package disk

import (
	"testing"

	"slipway.dev/pkg/fault"
)

// TestArrange: the boot order of the request decides which disk holds the OS.
func TestArrange(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		orders []int32
		field  string // at fault; "" for none
		first  int32  // the size of the boot disk; sizes count from 1 in the order of the request
	}{
		{nil, "", 0},
		{[]int32{0}, "", 1},
		{[]int32{0, 0}, "", 1},
		{[]int32{2, 1}, "", 2},
		{[]int32{20, 30, 10}, "", 3},
		{[]int32{1, 0}, "disks[1].boot_order", 0},
		{[]int32{1, 1}, "disks[1].boot_order", 0},
		{[]int32{-1, 1}, "disks[0].boot_order", 0},
		{[]int32{1 << 20, 1}, "", 2},
		{[]int32{1<<20 + 1, 1}, "disks[0].boot_order", 0},
	} {
		var disks []Disk
		for i, n := range tt.orders {
			disks = append(disks, Disk{SizeMiB: int32(i + 1), BootOrder: n, Label: "disk"})
		}
		err := Arrange(disks)
		if f, _ := fault.From(err); tt.field != "" && (f == nil || f.Field != tt.field) || tt.field == "" && err != nil {
			t.Errorf("%v: %v", tt.orders, err)
		}
		if err != nil || len(disks) == 0 {
			continue
		}
		if disks[0].SizeMiB != tt.first {
			t.Errorf("%v: boots from %+v", tt.orders, disks[0])
		}
		filled, err := Fill(disks)
		if err != nil || filled[0].Name != "disk0" || filled[0].BootOrder <= 0 || filled[0].Label != "disk" {
			t.Errorf("%v: filled %+v %v", tt.orders, filled, err)
		}
	}
}

// TestLabel: what a client calls a disk is one line of plain text.
func TestLabel(t *testing.T) {
	t.Parallel()
	for label, good := range map[string]bool{"": true, "disk-1_a b.qcow2": true, "a/b": false, "a\nb": false, "ä": false, " ": false, "   ": false, " a": true} {
		f, _ := fault.From(Check([]Disk{{Label: label}}))
		if (f == nil) != good || f != nil && f.Field != "disks[0].name" {
			t.Errorf("%q: %v", label, f)
		}
	}
}
