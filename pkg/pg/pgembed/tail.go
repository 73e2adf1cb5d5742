package pgembed

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
)

// tail copies the server's log, line by line, to our log, and keeps the last lines for error messages.
type tail struct {
	log *slog.Logger
	up  atomic.Bool // while it starts and stops, a refused connection is nothing to warn of

	mu    sync.Mutex
	part  []byte
	lines []string
}

const tailLines = 5

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.part = append(t.part, p...)
	for {
		line, rest, ok := bytes.Cut(t.part, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		t.add(string(line))
		t.part = rest
	}
}

func (t *tail) add(line string) {
	t.lines = append(t.lines, line)
	if len(t.lines) > tailLines {
		t.lines = t.lines[1:]
	}
	level := slog.LevelDebug
	if strings.HasPrefix(line, "PANIC") || strings.HasPrefix(line, "FATAL") && t.up.Load() {
		level = slog.LevelWarn
	}
	t.log.Log(context.Background(), level, "postgresql: "+line)
}

func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, "; ")
}
