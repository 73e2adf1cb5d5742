package allinone

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/deploy/fsck"
	"slipway.dev/pkg/clamp"
	checks "slipway.dev/pkg/fsck"
	"slipway.dev/services/node"
)

// urlFile holds the URL of the stack of a data directory.
const urlFile = "url"

// ErrRuns says that a stack uses the data directory: ask it.
var ErrRuns = errors.New("a slipway uses the directory")

// URL is where the stack of a data directory answers, or last did.
func URL(data string) (string, error) {
	text, err := os.ReadFile(filepath.Join(data, urlFile))
	return strings.TrimSpace(string(text)), err
}

// Password is that of the first administrator, as the first start made it.
func Password(data string) (string, error) {
	text, err := os.ReadFile(filepath.Join(data, passwordFile))
	return strings.TrimSpace(string(text)), err
}

// waiting lists kinds that mean nothing while no stack runs: the next start takes care of them.
var waiting = []string{checks.JobOverdue, checks.EventUnsent, "address_overdue"}

// Fsck checks the data and the machines of a stack that does not run. It opens database and hypervisor and carries out no job.
// It returns ErrRuns if the stack runs.
func Fsck(ctx context.Context, cfg Config, settle time.Duration, log *slog.Logger) (r fsck.Report, err error) {
	if _, err := os.Stat(filepath.Join(cfg.Data, idFile)); err != nil {
		return r, fmt.Errorf("%s holds no data of slipway", cfg.Data)
	}
	unlock, err := lock(cfg.Data)
	if err != nil {
		return r, ErrRuns
	}
	defer unlock()
	cfg.Hypervisor, cfg.Accel, cfg.Templates = node.Auto, "tcg", ""
	s := &process{cfg: cfg, log: log}
	if s.infra, err = start(ctx, cfg, log); err != nil {
		return r, err
	}
	defer s.infra.stop()
	if err := s.build(ctx); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.node.Close()) }()
	ctx, err = s.services.AsAdmin(ctx)
	if err != nil {
		return r, err
	}
	resp, err := vmpb.NewFsckServiceClient(s.services.Conn("vm", "slipway")).
		GetFsck(ctx, &vmpb.GetFsckRequest{SettleMs: clamp.Int32(max(settle.Milliseconds(), 1))})
	if err != nil {
		return r, err
	}
	r = fsck.Report{
		Unchecked: resp.GetUnchecked(), Nodes: int(resp.GetNodes()), Hosts: int(resp.GetHosts()),
		Machines: int(resp.GetMachines()), Addresses: int(resp.GetAddresses()),
	}
	for _, f := range resp.GetList() {
		if !slices.Contains(waiting, f.GetKind()) {
			r.Findings = append(r.Findings, fsck.Finding{Kind: f.GetKind(), Object: f.GetObject(), Detail: f.GetDetail()})
		}
	}
	return r, nil
}
