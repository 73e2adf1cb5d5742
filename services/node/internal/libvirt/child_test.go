//go:build libvirt_dlopen && e2e

package libvirt_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"

	"slipway.dev/services/node/internal/hyper"
	"slipway.dev/services/node/internal/hypertest"
	"slipway.dev/services/node/internal/libvirt"
)

const childEnv = "SLIPWAY_LIBVIRT_CHILD"

// runChild is an agent in a process of its own, that does what its standard input says.
func runChild(text string) int {
	if err := agent(text); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func agent(text string) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	ctx := context.Background()
	d, err := libvirt.Open(ctx, config(o.Root, o.Stack))
	if err != nil {
		return err
	}
	if !o.Find {
		m := hyper.Machine{
			UUID: o.Machine, CPUs: 1, MemoryMiB: 64, Seed: true, Disks: []hyper.Disk{{Name: "root", SizeMiB: 8}},
			Meta: hyper.Meta{HostID: o.HostID, Fence: 7},
		}
		if o.Network {
			n := hyper.Network{Name: hyper.BridgeName(o.Stack, 1)}
			m.NICs = []hyper.NIC{{MAC: net.HardwareAddr{0x52, 0x54, 0, 0, 0, 7}, Network: n.Name, AntiSpoofing: true}}
			if err := d.EnsureNetwork(ctx, n); err != nil {
				return err
			}
		}
		if err := errors.Join(d.EnsureDisk(ctx, o.Machine, m.Disks[0]), d.EnsureSeed(ctx, o.Machine, hypertest.Seed()),
			d.Define(ctx, m), d.Start(ctx, o.Machine)); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		switch in.Text() {
		case "state":
			st, err := d.State(ctx, o.Machine)
			if err != nil {
				return err
			}
			list, err := d.List(ctx)
			if err != nil || len(list) != 1 {
				return fmt.Errorf("list: %v %w", list, err)
			}
			fmt.Println(st.Power, list[0].Meta.Fence)
		case "remove":
			if err := d.Remove(ctx, o.Machine); err != nil {
				return err
			}
			fmt.Println("removed")
		case "close":
			if err := d.Close(); err != nil {
				return err
			}
			fmt.Println("closed")
			return nil
		}
	}
	return nil
}
