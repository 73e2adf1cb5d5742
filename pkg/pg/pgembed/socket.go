package pgembed

import (
	"os"
	"path/filepath"
	"strings"

	"slipway.dev/pkg/child"
)

const (
	socketName   = ".s.PGSQL.5432"
	maxSocket    = 107 // of sun_path, less the zero at its end
	socketPrefix = "slipway-pg-"
)

// socketDir makes the directory of the socket: in dir, or, if that path is too long for a socket, a short temporary one.
func socketDir(dir string, a child.Account) (path string, temp bool, err error) {
	path = filepath.Join(dir, "socket")
	if len(path)+1+len(socketName) <= maxSocket {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return "", false, err
		}
		return path, false, a.Own(path)
	}
	if path, err = os.MkdirTemp("", socketPrefix); err != nil {
		return "", false, err
	}
	if len(path)+1+len(socketName) > maxSocket { // TMPDIR is long as well
		os.Remove(path)
		if path, err = os.MkdirTemp("/tmp", socketPrefix); err != nil {
			return "", false, err
		}
	}
	return path, true, a.Own(path)
}

// removeSocketDir removes the short directory of a server that was killed; line 5 of postmaster.pid names it.
func removeSocketDir(pidFile []string) {
	if len(pidFile) < 5 {
		return
	}
	if dir := strings.TrimSpace(pidFile[4]); strings.HasPrefix(filepath.Base(dir), socketPrefix) {
		os.RemoveAll(dir)
	}
}
