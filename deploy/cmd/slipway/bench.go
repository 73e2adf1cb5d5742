package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"

	"github.com/spf13/cobra"

	"slipway.dev/deploy/seed"
	"slipway.dev/pkg/pg/pgembed"
)

func bench(log *slog.Logger) *cobra.Command {
	c := &cobra.Command{Use: "bench", Short: "What benches need"}
	c.AddCommand(fill(log))
	return c
}

func fill(log *slog.Logger) *cobra.Command {
	var data, url string
	var hosts int
	c := &cobra.Command{
		Use:   "seed",
		Short: "Fill the database of a fresh installation with an estate that exists nowhere else",
		Long: `Fill the database of a fresh installation with an estate that exists nowhere else: clusters, nodes, accounts, and hosts with
disks, addresses and tasks, of which no machine runs. It refuses a database that holds more than the first start made.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			say := func(what string) { log.Info(what) }
			if hosts < 1 || hosts > 4_000_000 {
				return errors.New("--hosts: from 1 to 4000000")
			}
			if url != "" {
				return seed.Fill(ctx, url, hosts, say)
			}
			db, err := pgembed.Start(ctx, pgembed.Config{Dir: filepath.Join(data, "postgres"), Log: log})
			if err != nil {
				return err
			}
			err = seed.Fill(ctx, db.URL(), hosts, say)
			return errors.Join(err, db.Stop(context.WithoutCancel(ctx)))
		},
	}
	f := c.Flags()
	f.IntVar(&hosts, "hosts", 1000, "number of hosts; all else is in proportion")
	f.StringVar(&data, "data", "", "data directory of an installation that is not running")
	f.StringVar(&url, "database", "", "URL of the database instead")
	c.MarkFlagsMutuallyExclusive("data", "database")
	c.MarkFlagsOneRequired("data", "database")
	return c
}
