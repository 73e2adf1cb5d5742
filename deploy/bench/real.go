package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// real measures creates of real machines: from POST to active, minus what qemu-img, define and start of the same domain cost
// when libvirt is asked directly, in turn.
func (b *bench) real(ctx context.Context) error {
	p, a, err := b.open("libvirt", "real", "")
	if err != nil {
		return err
	}
	defer p.stop()
	first, _, err := a.host("pattern")
	if err != nil {
		return err
	}
	var ours, floor []time.Duration
	for i := range 4 * b.rounds {
		m, took, err := a.host(fmt.Sprintf("real%d", i))
		if err != nil {
			return err
		}
		ours = append(ours, took)
		if err := a.remove(m); err != nil {
			return err
		}
		bare, err := b.libvirtFloor(ctx)
		if err != nil {
			return err
		}
		floor = append(floor, bare)
	}
	if err := a.remove(first); err != nil {
		return err
	}
	over := make([]time.Duration, len(ours))
	for i := range ours {
		over[i] = ours[i] - median(floor)
	}
	slices.Sort(over)
	b.row("floor: qemu-img create + define + start", ms(median(floor)), "", "")
	b.row("POST to active, real machine", ms(median(ours)), "", "")
	b.row("over the floor, median", ms(median(over)), "bar 150 ms", ratio(median(over).Seconds(), 0.150))
	b.row("over the floor, p95", ms(percentile(over, 0.95)), "bar 400 ms", ratio(percentile(over, 0.95).Seconds(), 0.400))
	return nil
}

// libvirtFloor makes one machine like the pattern, without us. The program is the agent's neighbour: only there is
// libvirt linked.
func (b *bench) libvirtFloor(ctx context.Context) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(b.bin, "libvirtfloor"),
		"-pattern", filepath.Join(b.dir, "real", "node"), "-root", filepath.Join(b.dir, "floor"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("floor: %w\n%s", err, stderr.String())
	}
	var r struct {
		Total time.Duration `json:"total_ns"`
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return 0, err
	}
	return r.Total, os.RemoveAll(filepath.Join(b.dir, "floor", "machine"))
}
