package sim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/google/uuid"

	"slipway.dev/services/node/internal/hyper"
)

// EnsureDisk records a disk.
func (d *Driver) EnsureDisk(ctx context.Context, id uuid.UUID, disk hyper.Disk) error {
	if err := disk.Check(); err != nil {
		return err
	}
	return d.change(ctx, "EnsureDisk", id, func(m *machine) error {
		if disk.Template != "" && d.cfg.HasTemplate != nil && !d.cfg.HasTemplate(disk.Template) {
			return hyper.ErrNoTemplate.With("template %s is not installed on this node", disk.Template)
		}
		old, there := m.Disks[disk.Name]
		switch {
		case there && old.Template != disk.Template:
			return hyper.ErrInvalid.With("disk %s exists and starts from another template", disk.Name).On("template")
		case there && disk.SizeMiB < old.SizeMiB:
			return hyper.ErrDiskShrinks.With("disk %s has %d MiB", disk.Name, old.SizeMiB)
		}
		disk.Bus = ""
		m.Disks[disk.Name] = disk
		return nil
	})
}

// AddCD records the image of a CD, and removes the file.
func (d *Driver) AddCD(ctx context.Context, id uuid.UUID, name, path string) error {
	if err := hyper.CheckDiskName(name); err != nil {
		return err
	}
	st, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("size of a CD: %w", err)
	}
	err = d.change(ctx, "AddCD", id, func(m *machine) error {
		if err := d.ours(m); err != nil {
			return err
		}
		m.Disks[name] = hyper.Disk{Name: name, SizeMiB: st.Size()>>20 + 1}
		return nil
	})
	if err != nil {
		return err
	}
	return os.Remove(path)
}

// MoveDisk records a disk with another machine.
func (d *Driver) MoveDisk(ctx context.Context, from uuid.UUID, name string, to uuid.UUID, newName string) error {
	if err := errors.Join(hyper.CheckDiskName(name), hyper.CheckDiskName(newName)); err != nil {
		return err
	}
	if from == to {
		return hyper.ErrInvalid.With("the machine has the disk already").On("to")
	}
	if err := d.enter(ctx, "MoveDisk", from); err != nil {
		return err
	}
	d.mu.Lock()
	err := d.move(d.copyOf(from), name, d.copyOf(to), newName)
	d.mu.Unlock()
	if err == nil && d.cfg.After != nil {
		err = d.cfg.After(ctx, "MoveDisk", from)
	}
	return err
}

func (d *Driver) move(from *machine, name string, to *machine, newName string) error {
	if err := errors.Join(d.unused(from, name), d.ours(to)); err != nil {
		return err
	}
	disk, there := from.Disks[name]
	switch _, twice := to.Disks[newName]; {
	case there && twice:
		return hyper.ErrInvalid.With("the machine has another disk %s", newName).On("new_name")
	case twice:
		return nil // moved before
	case !there:
		return hyper.ErrNoDisk.With("disk %s is not there", name)
	}
	disk.Name = newName
	to.Disks[newName] = disk
	delete(from.Disks, name)
	return d.keepAll(to, from)
}

// unused returns ErrDiskInUse if a machine uses a disk or a CD.
func (d *Driver) unused(m *machine, name string) error {
	if err := d.ours(m); err != nil {
		return err
	}
	for _, def := range []*hyper.Machine{m.Def, m.Running} {
		if def != nil && (def.CD == name || slices.ContainsFunc(def.Disks, func(k hyper.Disk) bool { return k.Name == name })) {
			return hyper.ErrDiskInUse.With("the machine uses disk %s", name)
		}
	}
	return nil
}

// RemoveDisk forgets a disk or a CD.
func (d *Driver) RemoveDisk(ctx context.Context, id uuid.UUID, name string) error {
	if err := hyper.CheckDiskName(name); err != nil {
		return err
	}
	return d.change(ctx, "RemoveDisk", id, func(m *machine) error {
		if err := d.unused(m, name); err != nil {
			return err
		}
		delete(m.Disks, name)
		return nil
	})
}
