package hyper_test

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/node/internal/hyper"
)

func TestNames(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		stack := rapid.String().Draw(t, "stack")
		host := rapid.Int32Range(1, 999_999).Draw(t, "host")
		id := uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		if got := hyper.DomainName(stack, host, id); len(got) > 20 {
			t.Errorf("domain %q is cut by libvirt", got)
		}
		if got := hyper.BridgeName(stack, rapid.Uint32().Draw(t, "n")); (hyper.Network{Name: got}).Check() != nil {
			t.Errorf("bridge %q", got)
		}
		tap := hyper.TapName(stack, id, 0)
		if len(tap) != 15 || tap == hyper.TapName(stack, id, 1) || tap == hyper.TapName(stack+"x", id, 0) {
			t.Errorf("tap %q", tap)
		}
	})
}

func TestCheck(t *testing.T) {
	t.Parallel()
	good := func() hyper.Machine {
		return hyper.Machine{
			UUID: uuid.New(), Name: "web server № 1", CPUs: 1, MemoryMiB: 512,
			Disks: []hyper.Disk{{Name: "root", SizeMiB: 1}},
			NICs:  []hyper.NIC{{MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, Network: "br0", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}},
		}
	}
	if err := good().Check(); err != nil {
		t.Fatal(err)
	}
	for field, spoil := range map[string]func(*hyper.Machine){
		"uuid":            func(m *hyper.Machine) { m.UUID = uuid.Nil },
		"name":            func(m *hyper.Machine) { m.Name = "a\x00b" },
		"cpus":            func(m *hyper.Machine) { m.CPUs = 0 },
		"memory_mib":      func(m *hyper.Machine) { m.MemoryMiB = -1 },
		"disks[0]":        func(m *hyper.Machine) { m.Disks[0].Name = "../x" },
		"disks[1]":        func(m *hyper.Machine) { m.Disks = append(m.Disks, m.Disks[0]) },
		"nics[0].mac":     func(m *hyper.Machine) { m.NICs[0].MAC[0] = 1 },
		"nics[0].network": func(m *hyper.Machine) { m.NICs[0].Network = "eth0;reboot" },
	} {
		m := good()
		spoil(&m)
		f, ok := fault.From(m.Check())
		if !ok || f.Field != field || !errors.Is(f, hyper.ErrInvalid) {
			t.Errorf("%s: %+v", field, f)
		}
	}
}
