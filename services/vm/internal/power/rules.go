// Package power starts, stops and restarts hosts.
package power

import "slipway.dev/services/vm/internal/host"

// Start records that the host is to run.
func Start(h *host.Host) error {
	if h.State == host.Deleting {
		return host.ErrDeleting.With("host %d is being deleted", h.ID)
	}
	h.Wanted = host.WantActive
	if h.State != host.Creating && h.State != host.Active {
		h.State = host.Starting
	}
	return nil
}

// Stop records that the host is not to run.
func Stop(h *host.Host) error {
	if h.State == host.Deleting {
		return host.ErrDeleting.With("host %d is being deleted", h.ID)
	}
	h.Wanted = host.WantStopped
	if h.State != host.Creating && h.State != host.Stopped {
		h.State = host.Stopping
	}
	return nil
}

// Restart records that the host is to stop and run again.
func Restart(h *host.Host) error {
	if err := Stop(h); err != nil {
		return err
	}
	h.Wanted = host.WantActive
	return nil
}
