// Package iso starts a host from a CD that its user names, and from its disks again.
package iso

import (
	"fmt"
	"net/url"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/vm/internal/machine"
)

var errNotMounted = fault.New(codes.FailedPrecondition, "ISO_NOT_MOUNTED", "the host has no ISO image mounted")

// args are the arguments of the jobs.
type args struct {
	machine.Args
	URL    string `json:"url,omitempty"`
	Upload string `json:"upload,omitempty"` // the name of an uploaded image on the node, in place of an address
}

// nameOf returns the name of the CD that a job brings to the node. No CD ever had it.
func nameOf(job int32) string { return fmt.Sprintf("iso-%d", job) }

// into puts a CD into the drive of a machine.
func into(m *machine.Machine, job int32) error {
	switch {
	case m.CD != "":
		return machine.ErrISO.With("the host has an ISO image mounted already")
	case m.Rescue:
		return machine.ErrRescue.With("the host is in rescue mode: end that first")
	}
	m.CD = nameOf(job)
	return nil
}

// out takes the CD out of the drive.
func out(m *machine.Machine) error {
	if m.CD == "" {
		return errNotMounted.With("the host has no ISO image mounted")
	}
	m.CD = ""
	return nil
}

// public returns a web address without the parameters, in which keys are often hidden.
func public(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	u.RawQuery, u.Fragment = "", ""
	return u.String()
}
