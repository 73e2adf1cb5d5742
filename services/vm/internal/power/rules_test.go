package power_test

import (
	"errors"
	"testing"

	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/power"
)

func TestRules(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		do     func(*host.Host) error
		from   host.State
		to     host.State
		wanted string
		err    error
	}{
		{"start", power.Start, host.Stopped, host.Starting, host.WantActive, nil},
		{"start", power.Start, host.Crashed, host.Starting, host.WantActive, nil},
		{"start", power.Start, host.Active, host.Active, host.WantActive, nil},
		{"start", power.Start, host.Creating, host.Creating, host.WantActive, nil},
		{"start", power.Start, host.Deleting, host.Deleting, "", host.ErrDeleting},
		{"stop", power.Stop, host.Active, host.Stopping, host.WantStopped, nil},
		{"stop", power.Stop, host.Stopped, host.Stopped, host.WantStopped, nil},
		{"stop", power.Stop, host.Deleting, host.Deleting, "", host.ErrDeleting},
		{"restart", power.Restart, host.Active, host.Stopping, host.WantActive, nil},
	} {
		t.Run(tt.name+" "+string(tt.from), func(t *testing.T) {
			t.Parallel()
			h := &host.Host{State: tt.from}
			if err := tt.do(h); !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if h.State != tt.to || h.Wanted != tt.wanted {
				t.Errorf("%s wanted %q, want %s wanted %q", h.State, h.Wanted, tt.to, tt.wanted)
			}
		})
	}
}
