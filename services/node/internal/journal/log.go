package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"slipway.dev/pkg/durable"
	"slipway.dev/pkg/fence"
)

// compactAfter is how many lines the log may have beyond its machines before the log is compacted.
const compactAfter = 50_000

// load reads the log: the last line of a machine counts. A line without an end was never acknowledged and is dropped. A
// damaged line is left out, and counted: the agent has to start without it. A file in which nothing can be read is an
// error.
func (j *Journal) load() error {
	text, err := os.ReadFile(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var highest int64
	for n := 1; len(text) > 0; n++ {
		line, rest, whole := bytes.Cut(text, []byte("\n"))
		if text = rest; !whole {
			break
		}
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			j.damaged = append(j.damaged, fmt.Errorf("%s, line %d: %w", filepath.Base(j.path), n, err))
			continue
		}
		j.entries[e.Machine], highest = e, max(highest, e.Fence)
		j.timeline = max(j.timeline, fence.Timeline(e.Fence))
	}
	if len(j.damaged) > 0 && len(j.entries) == 0 {
		return errors.Join(j.damaged...)
	}
	if len(j.damaged) > 0 {
		j.entries[everyMachine] = entry{Machine: everyMachine, Fence: highest}
	}
	return nil
}

// compact replaces the log by one with a single line for each machine.
func (j *Journal) compact() error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for id, e := range j.entries {
		if !e.Removed.IsZero() && j.now().Sub(e.Removed) > Keep {
			delete(j.entries, id)
			continue
		}
		if err := enc.Encode(e); err != nil {
			return err
		}
	}
	if err := durable.Replace(j.path, b.Bytes(), 0o600); err != nil {
		return err
	}
	f, err := os.OpenFile(j.path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if j.log != nil {
		_ = j.log.Close() // of the log that was replaced
	}
	j.log, j.size, j.lines = f, int64(b.Len()), len(j.entries)
	return nil
}

// write makes the entry durable before the command runs. A further step of a recorded attempt need not survive a power loss: all
// connections end with the node, so no other command of the attempt can arrive late.
func (j *Journal) write(e entry, unflushed bool) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	_, err = j.log.WriteAt(line, j.size)
	if err == nil && !unflushed {
		err = j.log.Sync()
	}
	if err != nil {
		// Remove the part of the line that was written, so that the next line does not follow it.
		return fmt.Errorf("record fence: %w", errors.Join(err, j.log.Truncate(j.size)))
	}
	j.size += int64(len(line))
	j.entries[e.Machine] = e
	if j.lines++; j.lines > len(j.entries)+compactAfter {
		return j.compact()
	}
	return nil
}
