package sim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/uuid"

	"slipway.dev/pkg/crash"
	"slipway.dev/pkg/durable"
	"slipway.dev/services/node/internal/hyper"
)

// logFile holds every change, one record a line; the last record of a machine counts. It is not flushed to the disk: a simulation
// must survive the process, but not a power loss.
const logFile = "machines.log"

var pointKeep = crash.At("node.sim.keep")

// record is one line: the new state of a machine, a removed machine, or all networks.
type record struct {
	Machine  *machine                  `json:"machine,omitempty"`
	Gone     *uuid.UUID                `json:"gone,omitempty"`
	Networks *map[string]hyper.Network `json:"networks,omitempty"`
}

// load reads the log and replaces it by one without outdated records.
func (d *Driver) load() error {
	if err := os.MkdirAll(d.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("make machine directory: %w", err)
	}
	path := filepath.Join(d.cfg.Dir, logFile)
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read machines: %w", err)
	}
	clear(d.machines)
	d.cards = hyper.Cards{}
	good, bad := 0, error(nil)
	for n := 1; len(text) > 0; n++ {
		line, rest, whole := bytes.Cut(text, []byte("\n"))
		text = rest
		if !whole {
			break // the process died while it wrote this: the change never happened
		}
		r, err := readRecord(line)
		if err != nil {
			d.cfg.Log.Error("a damaged record of a machine is left out", "file", logFile, "line", n, "err", err)
			bad = fmt.Errorf("read %s, line %d: %w", logFile, n, err)
			continue
		}
		good++
		d.apply(r)
	}
	if bad != nil && good == 0 {
		return bad // this is no file of machines
	}
	for _, m := range d.machines {
		if m.Def != nil {
			d.cards.Set(m.UUID, m.Def.NICs)
		}
	}
	return d.compact(path)
}

// readRecord reads a line. Where a full disk cut off one record, an earlier version wrote the next one behind the rest:
// the first never happened, and the second counts.
func readRecord(line []byte) (r record, err error) {
	if err = json.Unmarshal(line, &r); err == nil {
		return r, nil
	}
	for at := 1; at < len(line); at++ {
		var glued record
		if line[at] == '{' && json.Unmarshal(line[at:], &glued) == nil && glued != (record{}) {
			return glued, nil
		}
	}
	return r, err
}

func (d *Driver) apply(r record) {
	switch {
	case r.Machine != nil:
		if r.Machine.Disks == nil {
			r.Machine.Disks = map[string]hyper.Disk{}
		}
		d.machines[r.Machine.UUID] = r.Machine
	case r.Gone != nil:
		delete(d.machines, *r.Gone)
	case r.Networks != nil:
		d.networks = *r.Networks
	}
}

// compact replaces the log by one with a record for each machine, and one for the networks.
func (d *Driver) compact(path string) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	err := enc.Encode(record{Networks: &d.networks})
	for _, m := range d.machines {
		err = errors.Join(err, enc.Encode(record{Machine: m}))
	}
	if err != nil {
		return err
	}
	if err := durable.Replace(path, b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write machines: %w", err)
	}
	if d.log != nil {
		_ = d.log.Close() // of the log that was replaced
	}
	d.log, err = os.OpenFile(path, os.O_WRONLY, 0)
	d.size = int64(b.Len())
	return err
}

// keep appends records by one write: a process that dies leaves whole lines or a line without an end. What a failed write left
// is cut off, so that the next record does not follow it.
func (d *Driver) keep(records ...record) error {
	if d.log == nil {
		return nil
	}
	var lines bytes.Buffer
	enc := json.NewEncoder(&lines)
	for _, r := range records {
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	pointKeep.Hit()
	if _, err := d.log.WriteAt(lines.Bytes(), d.size); err != nil {
		return fmt.Errorf("keep machine: %w", errors.Join(err, d.log.Truncate(d.size)))
	}
	d.size += int64(lines.Len())
	return nil
}

func (d *Driver) save(m *machine) error { return d.keep(record{Machine: m}) }

func (d *Driver) saveNetworks() error { return d.keep(record{Networks: &d.networks}) }
