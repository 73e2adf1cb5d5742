package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"slipway.dev/pkg/pg"
)

func timeline() *cobra.Command {
	var url string
	c := &cobra.Command{
		Use:   "timeline",
		Short: "Show the timeline of the database, or accept a restored database",
		Long: `Show the timeline of the database, or accept a restored database.

Each failover of PostgreSQL begins a new timeline. The services and the nodes remember the highest one, and refuse a
database on a lower one: a former primary that comes back after a failover would give numbers and addresses twice.

A database that was restored with pg_dump into a new cluster begins at timeline 1 again. To go on with it, stop all
services, make sure that no other server with the installation's data runs, and accept it:

  slipway timeline accept SEEN

SEEN is the highest timeline that was seen, as the message of the refusal says. The database then counts as the one
that took over after it, and the nodes refuse commands of every other one. A superuser of PostgreSQL is needed.
`,
	}
	c.PersistentFlags().StringVar(&url, "postgres", os.Getenv("SLIPWAY_POSTGRES_URL"), "URL of the database")
	c.AddCommand(&cobra.Command{
		Use: "show", Short: "Show the timeline of the database", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return onDatabase(cmd.Context(), url, func(ctx context.Context, conn *pgx.Conn) error {
				n, err := pg.TimelineOf(ctx, conn)
				if err == nil {
					_, err = fmt.Fprintln(cmd.OutOrStdout(), n)
				}
				return err
			})
		},
	}, &cobra.Command{
		Use: "accept SEEN", Short: "Make this database the one that takes over after the timeline SEEN", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			seen, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil {
				return fmt.Errorf("%q is no timeline", args[0])
			}
			return onDatabase(cmd.Context(), url, func(ctx context.Context, conn *pgx.Conn) error {
				n, err := pg.AcceptTimeline(ctx, conn, seen)
				if err == nil {
					_, err = fmt.Fprintf(cmd.OutOrStdout(), "the database is on timeline %d from now on\n", n)
				}
				return err
			})
		},
	})
	return c
}

// onDatabase runs f on a connection to the primary among the servers of a URL.
func onDatabase(ctx context.Context, url string, f func(context.Context, *pgx.Conn) error) error {
	if url == "" {
		return errors.New("name the database with --postgres or SLIPWAY_POSTGRES_URL")
	}
	conn, err := pg.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return f(ctx, conn)
}
