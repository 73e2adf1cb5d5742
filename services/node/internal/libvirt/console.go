//go:build libvirt_dlopen

package libvirt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"

	"github.com/google/uuid"
	lv "libvirt.org/go/libvirt"

	"slipway.dev/services/node/internal/hyper"
)

// OpenConsole connects to the socket of a console, which the definition that the machine runs with names.
func (d *Driver) OpenConsole(ctx context.Context, id uuid.UUID, c hyper.Console) (net.Conn, error) {
	path := ""
	err := d.with(ctx, id, func(_ *lv.Connect, dom *domain) (err error) {
		path, err = d.consoleSocket(dom, c)
		return err
	})
	if err != nil {
		return nil, err
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, hyper.ErrNotRunning.Wrap(err) // it has stopped meanwhile
	}
	if err != nil {
		return nil, fmt.Errorf("connect to a console: %w", err)
	}
	return conn, nil
}

func (d *Driver) consoleSocket(dom *domain, c hyper.Console) (string, error) {
	if dom == nil {
		return "", hyper.ErrNotRunning
	}
	active, err := dom.IsActive()
	if err != nil {
		return "", fmt.Errorf("domain state: %w", err)
	}
	if !active {
		return "", hyper.ErrNotRunning
	}
	x, err := read(dom.Domain, 0)
	if err != nil {
		return "", err
	}
	if path := socketOf(x.Devices, c); path != "" {
		return path, nil
	}
	return "", hyper.ErrNoConsole
}
