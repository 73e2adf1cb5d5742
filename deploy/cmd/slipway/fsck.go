package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"slipway.dev/deploy/allinone"
	"slipway.dev/deploy/fsck"
)

// exit is an error that ends the program with a status of its own.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// Exit statuses of slipway fsck.
const (
	exitFindings exit = 1
	exitUnknown  exit = 2
)

// where is how to reach an installation.
type where struct{ url, data string }

func (w *where) flags(c *cobra.Command) {
	c.Flags().StringVar(&w.url, "url", "", "REST API of the installation (default: that of the stack in --data)")
	c.Flags().StringVar(&w.data, "data", defaultData(), "data directory of a slipway up")
}

const loginHelp = `
Environment:
  SLIPWAY_TOKEN           a token of an administrator, or else
  SLIPWAY_ADMIN_EMAIL     its e-mail (default admin@example.com)
  SLIPWAY_ADMIN_PASSWORD  its password (default: DATA/admin-password)`

// client logs in to a running installation.
func (w *where) client(ctx context.Context) (*fsck.Client, error) {
	url := w.url
	if url == "" {
		var err error
		if url, err = allinone.URL(w.data); err != nil {
			return nil, fmt.Errorf("no stack has run in %s; name one with --url: %w", w.data, err)
		}
	}
	if token := os.Getenv("SLIPWAY_TOKEN"); token != "" {
		return &fsck.Client{URL: url, Token: token}, nil
	}
	password := os.Getenv("SLIPWAY_ADMIN_PASSWORD")
	if password == "" {
		var err error
		if password, err = allinone.Password(w.data); err != nil {
			return nil, fmt.Errorf("set SLIPWAY_TOKEN or SLIPWAY_ADMIN_PASSWORD: %w", err)
		}
	}
	return fsck.Login(ctx, url, cmp.Or(os.Getenv("SLIPWAY_ADMIN_EMAIL"), "admin@example.com"), password)
}

func consistencyCheck(log *slog.Logger) *cobra.Command {
	var w where
	var asJSON bool
	var settle time.Duration
	c := &cobra.Command{
		Use:   "fsck",
		Short: "Compare what is recorded with the machines, disks and addresses that are there; repairs nothing",
		Long: `Compare what is recorded with the machines, disks and addresses that are there. It repairs nothing.

It asks the installation when that runs; else it opens the data directory itself. The exit status is 0 when nothing was
found, 1 when something was, and 2 when not everything could be looked at.
` + loginHelp,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := w.fsck(cmd.Context(), settle, log)
			if err != nil {
				fmt.Fprintln(cmd.ErrOrStderr(), "slipway fsck:", err)
				return exitUnknown
			}
			if err := r.Print(cmd.OutOrStdout(), asJSON); err != nil {
				return err
			}
			switch {
			case len(r.Findings) > 0:
				return exitFindings
			case len(r.Unchecked) > 0:
				return exitUnknown
			}
			return nil
		},
	}
	w.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "write one JSON object")
	c.Flags().DurationVar(&settle, "settle", 2*time.Second, "how long to wait before what was found is looked at again")
	return c
}

func (w *where) fsck(ctx context.Context, settle time.Duration, log *slog.Logger) (r fsck.Report, err error) {
	if w.url == "" {
		data, err := filepath.Abs(w.data)
		if err != nil {
			return r, err
		}
		w.data = data
		r, err = allinone.Fsck(ctx, allinone.Config{
			Data: data, PostgresURL: os.Getenv("SLIPWAY_POSTGRES_URL"), NATSURL: os.Getenv("SLIPWAY_NATS_URL"),
		}, settle, log)
		if !errors.Is(err, allinone.ErrRuns) {
			return r, err
		}
	}
	c, err := w.client(ctx)
	if err != nil {
		return r, err
	}
	return c.Check(ctx, settle)
}

func parked() *cobra.Command {
	var w where
	c := &cobra.Command{
		Use:   "parked",
		Short: "List, replay or drop events that a service could not take in",
		Long:  "List, replay or drop events that a service could not take in. The installation must run.\n" + loginHelp,
	}
	list := &cobra.Command{
		Use: "list", Short: "List parked events, the oldest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := w.client(cmd.Context())
			if err != nil {
				return err
			}
			events, err := client.Parked(cmd.Context())
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
			for _, e := range events {
				fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", e.Consumer, e.Event, e.Subject, e.Key, e.Since, e.Reason)
			}
			return table.Flush()
		},
	}
	act := func(use, short string, do func(*fsck.Client, context.Context, string, string) error) *cobra.Command {
		return &cobra.Command{
			Use: use + " CONSUMER EVENT", Short: short, Args: cobra.ExactArgs(2),
			RunE: func(cmd *cobra.Command, args []string) error {
				client, err := w.client(cmd.Context())
				if err != nil {
					return err
				}
				return do(client, cmd.Context(), args[0], args[1])
			},
		}
	}
	for _, sub := range []*cobra.Command{
		list,
		act("replay", "Take a parked event in now", (*fsck.Client).Replay),
		act("drop", "Forget a parked event for good", (*fsck.Client).Drop),
	} {
		w.flags(sub)
		c.AddCommand(sub)
	}
	return c
}
