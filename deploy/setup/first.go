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
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"slipway.dev/deploy/first"
	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/service"
	"slipway.dev/services/auth"
	"slipway.dev/services/ip"
	"slipway.dev/services/vm"
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
	pw, err := c.secret("nats-init")
	if err != nil {
		return err
	}
	b, err := bus.Connect(ctx, c.busURL("init", pw), bus.WithLog(log), bus.WithReplicas(len(c.NATSHosts)))
	if err != nil {
		return err
	}
	defer b.Close()
	err = c.as(ctx, "auth", func(authPool *pgxpool.Pool) error {
		return c.as(ctx, "ip", func(ipPool *pgxpool.Pool) error {
			return c.as(ctx, vm.Schema, func(vmPool *pgxpool.Pool) error {
				return c.seed(ctx, password, pools{authPool, ipPool, vmPool}, b, log)
			})
		})
	})
	if err != nil {
		return err
	}
	if c.AdminPassword == "" {
		_, err = fmt.Fprintf(out, "\nThe first administrator, shown this once:\n  e-mail    %s\n  password  %s\n\n", c.AdminEmail, password)
	} else {
		_, err = fmt.Fprintf(out, "The first administrator is %s, with the password that was given.\n", c.AdminEmail)
	}
	return errors.Join(err, write(done, "", 0o600))
}

type pools struct{ auth, ip, vm *pgxpool.Pool }

// seed makes what a new installation begins with, in the name of its administrator.
func (c Config) seed(ctx context.Context, password string, p pools, b *bus.Bus, log *slog.Logger) error {
	master, err := c.masterKey()
	if err != nil {
		return err
	}
	a, err := auth.New(ctx, auth.Config{MasterKey: master, AdminEmail: c.AdminEmail, AdminPassword: password}, service.Deps{Pool: p.auth, Bus: b, Log: log})
	if err != nil {
		return err
	}
	i, err := ip.New(ctx, ip.Config{}, service.Deps{
		Pool: p.ip, Bus: b, Log: log, Peers: service.Peers{"auth": a.Server().Local("ip")},
	})
	if err != nil {
		return err
	}
	v, err := vm.New(ctx, vm.Config{Name: "init", Cluster: c.Cluster, DomainTemplate: c.DomainTemplate}, service.Deps{
		Pool: p.vm, Bus: b, Log: log,
		Peers: service.Peers{"auth": a.Server().Local("vm"), "ip": i.Server().Local("vm")},
		Dial: func(string) (grpc.ClientConnInterface, error) {
			return nil, errors.New("no agent is called during the set-up")
		},
	})
	if err != nil {
		return err
	}
	who, err := a.AdminIdentity(ctx)
	if err != nil {
		return err
	}
	id, err := c.stackID()
	if err != nil {
		return err
	}
	ctx = metadata.AppendToOutgoingContext(ctx, identity.MetadataKey, who)
	_, err = first.Network(ctx, i.Server().Local("slipway"), v.Server().Local("slipway"), id)
	return err
}
