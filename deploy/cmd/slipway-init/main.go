// Slipway-init prepares an installation of separate services. Each of its commands may run at every start.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"slipway.dev/deploy/setup"
	"slipway.dev/pkg/conf"
	"slipway.dev/pkg/run"
)

func main() {
	run.Main(func(ctx context.Context, log *slog.Logger) error {
		cfg, err := conf.Load[setup.Config]("SLIPWAY")
		if err != nil {
			return err
		}
		root := &cobra.Command{
			Use: "slipway-init", Short: "Make an installation of separate services ready", SilenceUsage: true, SilenceErrors: true,
		}
		add := func(use, short string, f func(context.Context) error) {
			root.AddCommand(&cobra.Command{
				Use: use, Short: short, Args: cobra.NoArgs,
				RunE: func(cmd *cobra.Command, _ []string) error { return f(cmd.Context()) },
			})
		}
		add("keys", "Make the authority, certificates and secrets", func(context.Context) error { return setup.Keys(cfg) })
		add("migrate", "Make schemas and roles in PostgreSQL", func(ctx context.Context) error { return setup.Migrate(ctx, cfg) })
		add("first", "Make the first administrator and network; tell the password once", func(ctx context.Context) error {
			return setup.First(ctx, cfg, log, os.Stdout)
		})
		add("renew", "Renew certificates until it is stopped", func(ctx context.Context) error { return setup.Renew(ctx, cfg, log) })
		add("healthcheck", "Tell whether all certificates were renewed in time", func(context.Context) error { return setup.Fresh(cfg) })
		root.AddCommand(node(cfg))
		return root.ExecuteContext(ctx)
	})
}

func node(cfg setup.Config) *cobra.Command {
	var name string
	c := &cobra.Command{
		Use: "node [ID]", Short: "Issue the certificate of a node: of the node with this id, or of a new node", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := setup.Node(cfg, strings.Join(args, ""), name)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), dir)
			return err
		},
	}
	c.Flags().StringVar(&name, "for", "", "the node of docker-compose.yml that gets this id: node or node-libvirt (default: another node)")
	return c
}
