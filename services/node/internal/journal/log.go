package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"slipway.dev/pkg/durable"
)

// compactAfter is how many lines the log may have beyond its machines before it is written anew.
const compactAfter = 50_000

// load reads the log: the last line of a machine counts. A line without an end was never acknowledged and is dropped.
func (j *Journal) load() error {
	text, err := os.ReadFile(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for n := 1; len(text) > 0; n++ {
		line, rest, whole := bytes.Cut(text, []byte("\n"))
		if text = rest; !whole {
			break
		}
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		j.entries[e.Machine] = e
	}
	return nil
}

// compact writes a log with one line for each machine in the place of the old one.
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

// write makes the entry durable before it counts. A step of an attempt that is known need not outlive the power: with the
// node all connections end, and nothing of the attempt is on its way any more.
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
		// What is there of the line goes, so that the next one does not follow half of it.
		return fmt.Errorf("record fence: %w", errors.Join(err, j.log.Truncate(j.size)))
	}
	j.size += int64(len(line))
	j.entries[e.Machine] = e
	if j.lines++; j.lines > len(j.entries)+compactAfter {
		return j.compact()
	}
	return nil
}
