package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

func republish() *cobra.Command {
	var w where
	var since, service string
	c := &cobra.Command{
		Use:   "republish",
		Short: "Send events again, for a bus that lost them",
		Long: `Send the events since a time again, for a bus that lost them. The installation must run.

Services notice by themselves what a stream has lost, and send it again. This command is for the rest, such as a bus that
was put together from parts of backups. An event that a service has already changes nothing. Outboxes keep events for 15
days. The audit log records the command.
` + loginHelp,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			at, err := instant(since, time.Now())
			if err != nil {
				return err
			}
			client, err := w.client(cmd.Context())
			if err != nil {
				return err
			}
			n, err := client.Republish(cmd.Context(), service, at)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d events are sent again\n", n)
			return err
		},
	}
	w.flags(c)
	c.Flags().StringVar(&since, "since", "", `a time, "2006-01-02 15:04:05" in UTC or as in RFC 3339, or how long ago, such as 36h`)
	c.Flags().StringVar(&service, "service", "", "the service whose events are sent, such as auth (default: all services)")
	_ = c.MarkFlagRequired("since") // the flag exists
	return c
}

// instant reads a time, or a duration that ended now.
func instant(text string, now time.Time) (time.Time, error) {
	if ago, err := time.ParseDuration(text); err == nil && ago > 0 {
		return now.Add(-ago), nil
	}
	for _, form := range []string{time.DateTime, time.RFC3339, time.DateOnly} {
		if at, err := time.ParseInLocation(form, text, time.UTC); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is neither a time nor a duration", text)
}
