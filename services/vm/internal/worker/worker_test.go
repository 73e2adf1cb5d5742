package worker

import (
	"log/slog"
	"testing"

	"slipway.dev/pkg/jobs"
	"slipway.dev/services/vm/internal/machine"
)

// TestEveryKindHasAHandler: a job of each kind that vm makes is carried out. A kind of which the handler is missing would wait for ever.
func TestEveryKindHasAHandler(t *testing.T) {
	t.Parallel()
	r := jobs.NewRunner(nil, jobs.Config{})
	New(r, Rows{}, nil, nil, slog.New(slog.DiscardHandler))
	for _, kind := range []string{
		"disk_attach", "disk_create", "disk_delete", "disk_detach", "disk_free", "disk_order", "disk_resize",
		"host_account", "host_change_params", "host_create", "host_delete", "host_guest_agent", "host_iso_finish", "host_iso_mount", "host_password",
		"host_reinstall", "host_rescue", "host_rescue_end", "host_restart", "host_start", "host_stop",
		"ip_change", "ip_delete", "ip_free", "machine_reap", "os_import", "ptr_change",
	} {
		if !handled(r, kind) {
			t.Errorf("no room carries out %s", kind)
		}
	}
	if handled(r, "unknown") {
		t.Error("a kind that there is not is carried out")
	}
}

// handled reports whether a kind has a handler: a second one is refused.
func handled(r *jobs.Runner, kind string) (yes bool) {
	defer func() { yes = recover() != nil }()
	jobs.Handle(r, kind, jobs.Handler[machine.Args]{})
	return false
}
