package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// How a mutant ended.
const (
	isKilled = "killed"
	isAlive  = "survived"
	isBroken = "does not build"
)

// entry is a line of the state file.
type entry struct {
	Target string `json:"target"`
	Mutant string `json:"mutant"`
	End    string `json:"end"`
	By     string `json:"by,omitempty"` // what failed
}

// state keeps results over runs.
type state struct {
	file *os.File

	mu    sync.Mutex
	known map[[2]string]entry
}

func openState(path string) (*state, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	s := &state{file: f, known: map[[2]string]entry{}}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
		}
		s.known[[2]string{e.Target, e.Mutant}] = e
	}
	return s, lines.Err()
}

func (s *state) close() { _ = s.file.Close() } // each line was written as it came

func (s *state) get(target, mutant string) (entry, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.known[[2]string{target, mutant}]
	return e, ok
}

func (s *state) put(e entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known[[2]string{e.Target, e.Mutant}] = e
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = s.file.Write(append(line, '\n'))
	return err
}

// equalList are the mutants that change nothing, with the reasons.
type equalList struct {
	reason map[string]string
	seen   map[string]bool

	counted int // of those that are seen
}

// readEqual reads pairs of lines: the name of a mutant, and after four spaces why it changes nothing.
func readEqual(path string) (*equalList, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	l := &equalList{reason: map[string]string{}, seen: map[string]bool{}}
	name := ""
	for line := range strings.SplitSeq(string(text), "\n") {
		switch {
		case strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#"):
		case !strings.HasPrefix(line, "    "):
			if name != "" {
				return nil, fmt.Errorf("%s: no reason for %s", path, name)
			}
			name = line
		case name == "":
			return nil, fmt.Errorf("%s: a reason without a mutant: %s", path, line)
		default:
			l.reason[name], name = strings.TrimSpace(line), ""
		}
	}
	if name != "" {
		return nil, fmt.Errorf("%s: no reason for %s", path, name)
	}
	return l, nil
}

// has reports whether m is in the list, and notes that it was met.
func (l *equalList) has(m mutant) bool {
	name := m.name()
	if l.reason[name] == "" {
		return false
	}
	l.seen[name] = true
	return true
}

// met returns how many of the list were met since the last call.
func (l *equalList) met() int {
	n := len(l.seen) - l.counted
	l.counted = len(l.seen)
	return n
}

// stale returns the names in the list that no mutant has.
func (l *equalList) stale() (names []string) {
	for name := range l.reason {
		if !l.seen[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
