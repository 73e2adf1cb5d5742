package allinone

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/uuid"

	"slipway.dev/deploy/first"

	"slipway.dev/pkg/durable"
)

// File names in the data directory.
const (
	lockFile     = "lock"
	idFile       = "stack-id"
	passwordFile = "admin-password"
	masterFile   = "master-key"
	networkFile  = "first-network"
)

// lock makes sure that one process at a time uses the directory. The kernel drops the lock when the process dies.
func lock(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("another slipway uses %s", dir)
	}
	return func() { _ = f.Close() }, nil
}

// stackID identifies the machines of this installation among those of others on the same hypervisor.
func stackID(dir string) (string, error) {
	return durable.Create(filepath.Join(dir, idFile), 0o644, func() (string, error) { return uuid.NewString(), nil })
}

// adminPassword is the given one, or one that the first start makes. It matters at the first start only.
func adminPassword(cfg Config) (string, error) {
	if cfg.AdminPassword != "" {
		return cfg.AdminPassword, nil
	}
	return durable.Create(filepath.Join(cfg.Data, passwordFile), 0o600, func() (string, error) { return rand.Text(), nil })
}

// settings returns the variables of environ with those of own in their place, however environ gives them.
func settings(environ []string, own map[string]string) map[string]string {
	all := map[string]string{}
	for _, line := range environ {
		name, value, _ := strings.Cut(line, "=")
		all[name] = value
	}
	for name, value := range own {
		delete(all, name+"_FILE")
		all[name] = value
	}
	return all
}

// firstNetwork makes the private network of a first start: a pool of addresses that the node translates to its own. What
// a crash left half made is completed; what an administrator changes later stays.
func (s *process) firstNetwork(ctx context.Context) error {
	_, err := durable.Create(filepath.Join(s.cfg.Data, networkFile), 0o644, func() (string, error) {
		ctx, err := s.services.AsAdmin(ctx)
		if err != nil {
			return "", err
		}
		return s.makeNetwork(ctx)
	})
	return err
}

// makeNetwork does so in the name of the installation.
func (s *process) makeNetwork(ctx context.Context) (string, error) {
	id, err := stackID(s.cfg.Data)
	if err != nil {
		return "", err
	}
	p, err := first.Network(ctx, s.services.Conn("ip", "slipway"), s.services.Conn("vm", "slipway"), id)
	return p.String(), err
}
