package pgtest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"slipway.dev/pkg/pg/pgembed"
)

// Server is a throwaway PostgreSQL that trades durability for speed.
type Server struct {
	*pgembed.Server
	dir string
}

// Start starts a throwaway server. The server dies with this process, however this process ends.
func Start(ctx context.Context) (*Server, error) {
	sweep()
	dir, err := os.MkdirTemp("", dirPrefix+strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		return nil, err
	}
	s, err := pgembed.Start(ctx, pgembed.Config{Dir: dir, Fast: true})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &Server{s, dir}, nil
}

// Stop stops the server and removes its directory.
func (s *Server) Stop() error {
	ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
	defer stop()
	return errors.Join(s.Server.Stop(ctx), os.RemoveAll(s.dir))
}

const dirPrefix = "slipway-pgtest-"

// sweep removes the directories of processes that were killed.
func sweep() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*")) // the pattern is good
	for _, dir := range dirs {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), dirPrefix), "-")
		if n, err := strconv.Atoi(pid); err == nil && syscall.Kill(n, 0) == syscall.ESRCH {
			os.RemoveAll(dir)
		}
	}
}
