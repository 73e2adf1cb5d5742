package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"slipway.dev/deploy/check"
	"slipway.dev/deploy/parts"
)

func checkInstallation() *cobra.Command {
	var w where
	var asJSON bool
	cfg := check.Config{Postgres: os.Getenv("SLIPWAY_POSTGRES_URL"), NATS: os.Getenv("SLIPWAY_NATS_URL")}
	c := &cobra.Command{
		Use:   "check",
		Short: "Look at a running installation and say what it lacks to survive the failure of any one of its parts",
		Long: `Look at a running installation and say what it lacks to survive the failure of any one of its parts: synchronous
replication, three copies of each stream, two machines for each service, certificates that do not end soon, clocks that
agree, room on disks, and records that agree with the machines. It changes nothing.

The exit status is 0 when nothing is missing, 1 when something is, and 2 when not everything could be looked at.
` + loginHelp + `
  SLIPWAY_POSTGRES_URL    the database, as a superuser or a member of pg_monitor
  SLIPWAY_NATS_URL        the bus`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if cfg.API, err = w.client(cmd.Context()); err != nil {
				fmt.Fprintln(cmd.ErrOrStderr(), "slipway check:", err)
			}
			for _, p := range parts.Services(parts.All()) {
				cfg.Services = append(cfg.Services, p.Name)
			}
			r := check.Run(cmd.Context(), cfg)
			if err := r.Print(cmd.OutOrStdout(), asJSON); err != nil {
				return err
			}
			switch {
			case len(r.Missing) > 0:
				return exitFindings
			case len(r.Unchecked) > 0:
				return exitUnknown
			}
			return nil
		},
	}
	w.flags(c)
	f := c.Flags()
	f.BoolVar(&asJSON, "json", false, "write one JSON object")
	f.StringVar(&cfg.Postgres, "postgres", cfg.Postgres, "URL of the database")
	f.StringVar(&cfg.NATS, "nats", cfg.NATS, "URLs of the bus, comma separated")
	f.StringArrayVar(&cfg.Gateways, "gateway", nil, "URL of a gateway; repeat it for each (default: that of the installation)")
	f.StringArrayVar(&cfg.Certs, "certs", nil, "directory with certificates; may be repeated")
	f.StringArrayVar(&cfg.Dirs, "dir", nil, "directory of this machine whose file system needs room; may be repeated")
	return c
}
