package setup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/deploy/first"
	"slipway.dev/deploy/stack"
	"slipway.dev/pkg/bus"
)

// First makes the first administrator and the first network, and prints the login once. It runs the services in this process
// meanwhile, as slipway up does.
func First(ctx context.Context, c Config, log *slog.Logger, out io.Writer) error {
	done := filepath.Join(c.Authority, "first-done")
	if _, err := os.Stat(done); err == nil {
		return nil
	}
	password, err := c.adminPassword()
	if err != nil {
		return err
	}
	b, err := bus.Offline(ctx) // the services send the events when they start
	if err != nil {
		return err
	}
	defer b.Close()
	pools, closePools, err := c.pools(ctx)
	if err != nil {
		return err
	}
	defer closePools()
	if err := c.seed(ctx, password, pools, b, log); err != nil {
		return err
	}
	if c.AdminPassword == "" {
		_, err = fmt.Fprintf(out, "\nThe first administrator, shown this once:\n  e-mail    %s\n  password  %s\n\n", c.AdminEmail, password)
	} else {
		_, err = fmt.Fprintf(out, "The first administrator is %s, with the password that was given.\n", c.AdminEmail)
	}
	return errors.Join(err, write(done, "", 0o600))
}

// seed makes what a new installation begins with, in the name of its administrator.
func (c Config) seed(ctx context.Context, password string, pools map[string]*pgxpool.Pool, b *bus.Bus, log *slog.Logger) error {
	master, err := c.masterKey()
	if err != nil {
		return err
	}
	services, err := stack.New(ctx, stack.Config{
		Parts: c.table(), Pools: pools, Bus: b, Log: log, Settings: map[string]string{
			"SLIPWAY_AUTH_MASTER_KEY": master, "SLIPWAY_AUTH_ADMIN_EMAIL": c.AdminEmail, "SLIPWAY_AUTH_ADMIN_PASSWORD": password,
			"SLIPWAY_VM_NAME": "init", "SLIPWAY_VM_CLUSTER": c.Cluster, "SLIPWAY_VM_DOMAIN_TEMPLATE": c.DomainTemplate,
		},
	})
	if err != nil {
		return err
	}
	id, err := c.stackID()
	if err != nil {
		return err
	}
	if ctx, err = services.AsAdmin(ctx); err != nil {
		return err
	}
	_, err = first.Network(ctx, services.Conn("ip", "slipway"), services.Conn("vm", "slipway"), id)
	return err
}
