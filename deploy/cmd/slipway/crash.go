package main

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"slipway.dev/deploy/parts"
	"slipway.dev/pkg/crash"
)

// crashPoints lists the points at which tests kill the process. The command is hidden, because operators do not need
// it.
func crashPoints() *cobra.Command {
	return &cobra.Command{
		Use: "crashpoints", Hidden: true, Args: cobra.NoArgs,
		Short: "List the points at which tests kill this program (" + crash.Env + ")",
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, p := range parts.All() {
				if p.DeclareJobs != nil {
					p.DeclareJobs(slog.New(slog.DiscardHandler))
				}
			}
			for _, p := range crash.Points() {
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), p); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
