//go:build libvirt_dlopen

package libvirt

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"slipway.dev/services/node/internal/hyper"
)

// Traces joins the definitions with the directories of machines.
func (d *Driver) Traces(ctx context.Context) ([]hyper.Trace, error) {
	list, err := d.List(ctx)
	if err != nil {
		return nil, err
	}
	all, err := d.files.traces()
	if err != nil {
		return nil, err
	}
	for _, m := range list {
		t := all[m.UUID]
		t.UUID, t.Defined, t.Running = m.UUID, true, m.State.Power == hyper.Running || m.State.Power == hyper.Paused
		all[m.UUID] = t
	}
	return slices.Collect(maps.Values(all)), nil
}

// Orphans lists the taps that have rules and belong to no defined machine. The rules are read first: a machine that is
// defined meanwhile is known then.
func (d *Driver) Orphans(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil || d.bridges == nil {
		return nil, err
	}
	taps, err := d.bridges.Guarded()
	if err != nil {
		return nil, err
	}
	list, err := d.List(ctx)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, m := range list {
		for i := range hyper.MaxNICs {
			known[hyper.TapName(d.cfg.StackID, m.UUID, i)] = true
		}
	}
	return slices.DeleteFunc(taps, func(tap string) bool { return known[tap] }), nil
}

// Networks lists our bridges as the kernel has them.
func (d *Driver) Networks(ctx context.Context) ([]hyper.Network, error) {
	if err := ctx.Err(); err != nil || d.bridges == nil {
		return nil, err
	}
	return d.bridges.Look()
}

// traces reads the machines' directories. It ignores other directories.
func (f *files) traces() (map[uuid.UUID]hyper.Trace, error) {
	dirs, err := fs.ReadDir(f.root.FS(), ".")
	if err != nil {
		return nil, err
	}
	all := map[uuid.UUID]hyper.Trace{}
	for _, dir := range dirs {
		id, err := uuid.Parse(dir.Name())
		if err != nil || !dir.IsDir() {
			continue
		}
		inside, err := fs.ReadDir(f.root.FS(), dir.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		t := hyper.Trace{UUID: id}
		for _, file := range inside {
			switch name := file.Name(); {
			case name == seedFile:
				t.Seed = true
			case strings.HasSuffix(name, ".partial"):
				t.Partial = append(t.Partial, name)
			default:
				for _, file := range []func(string) string{diskFile, cdFile} {
					if disk, ok := strings.CutSuffix(name, file("")); ok {
						t.Disks = append(t.Disks, disk)
					}
				}
			}
		}
		all[id] = t
	}
	return all, nil
}
