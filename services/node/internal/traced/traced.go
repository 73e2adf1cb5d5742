// Package traced makes the calls of a hypervisor visible in traces.
package traced

import (
	"context"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"

	"slipway.dev/pkg/trace"
	"slipway.dev/services/node/internal/hyper"
)

// Driver returns d with a span round each call that changes something; d itself when no traces are configured.
func Driver(d hyper.Driver, name string) hyper.Driver {
	if !trace.On() {
		return d
	}
	return driver{d, name}
}

type driver struct {
	hyper.Driver
	name string
}

func (d driver) span(ctx context.Context, call string, id uuid.UUID, f func(context.Context) error) error {
	ctx, end := trace.Step(ctx, d.name+" "+call, attribute.String("machine", id.String()))
	err := f(ctx)
	end(err)
	return err
}

func (d driver) EnsureNetwork(ctx context.Context, n hyper.Network) error {
	ctx, end := trace.Step(ctx, d.name+" EnsureNetwork", attribute.String("network", n.Name))
	err := d.Driver.EnsureNetwork(ctx, n)
	end(err)
	return err
}

func (d driver) EnsureDisk(ctx context.Context, id uuid.UUID, k hyper.Disk) error {
	return d.span(ctx, "EnsureDisk", id, func(ctx context.Context) error { return d.Driver.EnsureDisk(ctx, id, k) })
}

func (d driver) AddCD(ctx context.Context, id uuid.UUID, name, path string) error {
	return d.span(ctx, "AddCD", id, func(ctx context.Context) error { return d.Driver.AddCD(ctx, id, name, path) })
}

func (d driver) MoveDisk(ctx context.Context, from uuid.UUID, name string, to uuid.UUID, newName string) error {
	return d.span(ctx, "MoveDisk", from, func(ctx context.Context) error { return d.Driver.MoveDisk(ctx, from, name, to, newName) })
}

func (d driver) RemoveDisk(ctx context.Context, id uuid.UUID, name string) error {
	return d.span(ctx, "RemoveDisk", id, func(ctx context.Context) error { return d.Driver.RemoveDisk(ctx, id, name) })
}

func (d driver) EnsureSeed(ctx context.Context, id uuid.UUID, s hyper.Seed) error {
	return d.span(ctx, "EnsureSeed", id, func(ctx context.Context) error { return d.Driver.EnsureSeed(ctx, id, s) })
}

func (d driver) Define(ctx context.Context, m hyper.Machine) error {
	return d.span(ctx, "Define", m.UUID, func(ctx context.Context) error { return d.Driver.Define(ctx, m) })
}

func (d driver) Adapt(ctx context.Context, id uuid.UUID, live bool) (r hyper.Resources, err error) {
	return r, d.span(ctx, "Adapt", id, func(ctx context.Context) error {
		r, err = d.Driver.Adapt(ctx, id, live)
		return err
	})
}

func (d driver) Start(ctx context.Context, id uuid.UUID) error {
	return d.span(ctx, "Start", id, func(ctx context.Context) error { return d.Driver.Start(ctx, id) })
}

func (d driver) Shutdown(ctx context.Context, id uuid.UUID) error {
	return d.span(ctx, "Shutdown", id, func(ctx context.Context) error { return d.Driver.Shutdown(ctx, id) })
}

func (d driver) SetGuestPassword(ctx context.Context, id uuid.UUID, hash string) error {
	return d.span(ctx, "SetGuestPassword", id, func(ctx context.Context) error { return d.Driver.SetGuestPassword(ctx, id, hash) })
}

func (d driver) PowerOff(ctx context.Context, id uuid.UUID) error {
	return d.span(ctx, "PowerOff", id, func(ctx context.Context) error { return d.Driver.PowerOff(ctx, id) })
}

func (d driver) Remove(ctx context.Context, id uuid.UUID) error {
	return d.span(ctx, "Remove", id, func(ctx context.Context) error { return d.Driver.Remove(ctx, id) })
}
