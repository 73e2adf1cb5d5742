// Package hosttest tests how jobs of hosts end, without a database.
package hosttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"slipway.dev/pkg/jobs"
	"slipway.dev/services/vm/internal/address"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/machine"
)

// errFailed is what a call fails with.
var errFailed = errors.New("a call failed")

// Rows are the rows of one host in a unit of work. They are the Tx of every room, and keep what is done with them.
type Rows struct {
	Row  host.Host
	Gone []address.Address // that the host loses
	Old  string            // the disk that the host loses

	calls []string
	fails int // which call fails; 0 for none
}

// Ends runs end, the end of a job, on rows that prepare has set up, and demands these calls. Then it runs end again and again while
// the first, second, third … call fails, and demands that end returns the error: a job that is not recorded has not ended.
func Ends(t *testing.T, what string, prepare func(*Rows), end func(*Rows) error, want ...string) {
	t.Helper()
	for fails := range len(want) + 1 {
		r := &Rows{Row: host.Host{ID: 3, Wanted: host.WantActive}, fails: fails}
		if prepare != nil {
			prepare(r)
		}
		switch err := end(r); {
		case fails == 0 && (err != nil || !slices.Equal(r.calls, want)):
			t.Errorf("%s: %q, %v; want %q", what, r.calls, err, want)
		case fails > 0 && !errors.Is(err, errFailed):
			t.Errorf("%s: %s fails, and the job ends with %v", what, want[fails-1], err)
		}
	}
}

// call keeps a call, and returns an error if it is the one that fails.
func (r *Rows) call(format string, args ...any) error {
	r.calls = append(r.calls, fmt.Sprintf(format, args...))
	if len(r.calls) == r.fails {
		return errFailed
	}
	return nil
}

// Host returns the host.
func (r *Rows) Host(context.Context, int32, int32) (*host.Host, error) { return &r.Row, r.call("host") }

// SaveHost keeps the state and the wanted state of the host.
func (r *Rows) SaveHost(_ context.Context, h *host.Host) error {
	return r.call("save %s, wanted %s", h.State, h.Wanted)
}

// DeleteHost deletes the host.
func (r *Rows) DeleteHost(context.Context, int32) error { return r.call("delete") }

// BuryHost leaves a tombstone.
func (r *Rows) BuryHost(context.Context, int32, int64) error { return r.call("bury") }

// Emit keeps the subject of an event.
func (r *Rows) Emit(_ context.Context, subject, _ string, _ proto.Message) error {
	return r.call("emit %s", subject)
}

// Booted keeps with how many addresses the guest was started.
func (r *Rows) Booted(_ context.Context, _ int32, b machine.Booted) error {
	return r.call("booted with %d addresses", len(b.Addresses))
}

// Stopped records that the guest is stopped.
func (r *Rows) Stopped(context.Context, int32) error { return r.call("stopped") }

// Inserted keeps the CD.
func (r *Rows) Inserted(_ context.Context, _ int32, name string) error {
	return r.call("inserted %q", name)
}

// Rescued keeps the rescue system.
func (r *Rows) Rescued(_ context.Context, _ int32, name, template string, sizeMiB int32) error {
	return r.call("rescued %q %q %d", name, template, sizeMiB)
}

// Reinstalled returns the disk that the host loses.
func (r *Rows) Reinstalled(context.Context, *host.Host, int32) (string, error) {
	return r.Old, r.call("reinstalled")
}

// Forget forgets what a job was to make.
func (r *Rows) Forget(context.Context, int32) error { return r.call("forget") }

// Enqueue keeps the kind of a job.
func (r *Rows) Enqueue(_ context.Context, n jobs.New) (jobs.Job, error) {
	return jobs.Job{}, r.call("enqueue %s", n.Kind)
}

// AddressesChanged returns the addresses that the host loses.
func (r *Rows) AddressesChanged(context.Context, int32, int32) ([]address.Address, error) {
	return r.Gone, r.call("addresses changed")
}

// AddressesUnchanged records that the host has its addresses.
func (r *Rows) AddressesUnchanged(context.Context, int32, int32) error {
	return r.call("addresses unchanged")
}

// Resized records a change of the host.
func (r *Rows) Resized(_ context.Context, _, _ int32, change func(*host.Host)) error {
	change(&r.Row)
	return r.call("resized")
}

// PasswordSet keeps where a password was set.
func (r *Rows) PasswordSet(_ context.Context, _, _ int32, inGuest bool) error {
	return r.call("password set, in the guest %v", inGuest)
}

// Remark keeps what a job says of its end.
func (r *Rows) Remark(_ context.Context, _ int32, text string) error {
	return r.call("remark %s", text)
}
