// Slipway is the whole control plane in one program.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"

	"github.com/spf13/cobra"

	"slipway.dev/deploy/allinone"
	"slipway.dev/pkg/run"
)

func main() {
	run.Main(func(ctx context.Context, log *slog.Logger) error {
		root := &cobra.Command{
			Use:           "slipway",
			Short:         "An open control plane for virtual machines that speaks the REST dialects of hosting panels",
			SilenceUsage:  true,
			SilenceErrors: true,
		}
		root.AddCommand(up(log), wipe(log), bench(log), consistencyCheck(log), checkInstallation(), parked(), republish(), timeline(), crashPoints())
		err := root.ExecuteContext(ctx)
		if code, ok := errors.AsType[exit](err); ok {
			os.Exit(int(code)) // the command has printed its message
		}
		return err
	})
}

// gcPercent makes the garbage collector run rarely. One process for all services has a small live heap, and the 19
// MiB of a password would start a collection after every third login, which slows down all other requests.
const gcPercent = 400

func up(log *slog.Logger) *cobra.Command {
	cfg := allinone.Config{
		AdminEmail: os.Getenv("SLIPWAY_ADMIN_EMAIL"), AdminPassword: os.Getenv("SLIPWAY_ADMIN_PASSWORD"),
		PostgresURL: os.Getenv("SLIPWAY_POSTGRES_URL"), NATSURL: os.Getenv("SLIPWAY_NATS_URL"),
		PanelURL: os.Getenv("SLIPWAY_GATEWAY_PANEL_URL"),
	}
	c := &cobra.Command{
		Use:   "up",
		Short: "Run all services in this process until it is interrupted; virtual machines go on",
		Long: `Run all services in this process until it is interrupted; virtual machines go on and are found again at the next start.

One line "ready http://…" on the standard output says that every service works.

Environment:
  SLIPWAY_ADMIN_EMAIL     the first administrator (default admin@example.com)
  SLIPWAY_ADMIN_PASSWORD  its password (default: made at the first start, kept in DATA/admin-password)
  SLIPWAY_POSTGRES_URL    use this PostgreSQL (default: a private one in DATA/postgres)
  SLIPWAY_NATS_URL        use this NATS (default: one in this process, in DATA/nats)
  SLIPWAY_NATS_REPLICAS   how many servers of a NATS cluster keep each event (default: three if the cluster has three)
  SLIPWAY_NATS_MAX_MIB    how large the stream of each service may become (default 1024); events that do not fit wait
  SLIPWAY_GATEWAY_PANEL_URL  where a one-time link leads after the login (default: a page that says who is logged in)
  SLIPWAY_GATEWAY_CHANGES  how many changes a second one account may ask for, SLIPWAY_GATEWAY_ADMIN_CHANGES an
                          administrator (default 50 and 1000; below 0: without limit)
  SLIPWAY_IP_DNS_SERVER   tell this name server PTR records, by dynamic update (default: they are only kept), with the
                          key SLIPWAY_IP_DNS_TSIG_NAME and the secret in the file SLIPWAY_IP_DNS_TSIG_SECRET_FILE
  SLIPWAY_IP_DNS_RESOLVER  find there the CNAMEs by which other servers delegate parts of reverse zones to it
  SLIPWAY_NODE_FETCH_NETWORKS  networks from which files are downloaded although they are not public, such as 10.8.0.0/24
  SLIPWAY_NODE_FETCH_PROXY  a proxy that carries all downloads and decides what they reach
  SLIPWAY_METRICS_SERVER  the default of --metrics-server: a private Prometheus in DATA/prometheus, if one is installed
  SLIPWAY_LOG             debug, info, warn or error`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if os.Getenv("GOGC") == "" {
				debug.SetGCPercent(gcPercent)
			}
			run.LimitMemory()
			data, err := filepath.Abs(cfg.Data)
			if err != nil {
				return err
			}
			cfg.Data = data
			if cfg.NATSReplicas, err = number("SLIPWAY_NATS_REPLICAS"); err != nil {
				return err
			}
			if cfg.NATSMaxMiB, err = number("SLIPWAY_NATS_MAX_MIB"); err != nil {
				return err
			}
			err = allinone.Up(cmd.Context(), cfg, log, cmd.OutOrStdout())
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&cfg.Data, "data", defaultData(), "directory of everything that must outlive the process")
	f.StringVar(&cfg.Listen, "listen", "127.0.0.1:8080", "address of the REST API")
	f.StringVar(&cfg.Hypervisor, "hypervisor", "auto", "auto, libvirt or sim (simulated machines)")
	f.StringVar(&cfg.Accel, "accel", "auto", "auto, kvm or tcg (emulation)")
	f.StringVar(&cfg.Metrics, "metrics", "", "address of /metrics for Prometheus (default none)")
	f.StringVar(&cfg.MetricsServer, "metrics-server", cmp.Or(os.Getenv("SLIPWAY_METRICS_SERVER"), "auto"),
		"URL of a Prometheus, or of what answers its API, that scrapes /metrics; auto runs a private one if prometheus is installed; off")
	f.StringVar(&cfg.Templates, "templates", defaultTemplates(), "directory of OS templates to install")
	return c
}

// number returns the number in a variable of the environment, or 0 if that is not set.
func number(name string) (int, error) {
	text := os.Getenv(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s is %q: a number is required", name, text)
	}
	return n, nil
}

func wipe(log *slog.Logger) *cobra.Command {
	var data string
	c := &cobra.Command{
		Use:   "wipe",
		Short: "Remove all virtual machines of an installation that is not running, and all its data",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := filepath.Abs(data)
			if err != nil {
				return err
			}
			return allinone.Wipe(cmd.Context(), dir, log)
		},
	}
	c.Flags().StringVar(&data, "data", "", "data directory of the installation")
	_ = c.MarkFlagRequired("data") // the flag exists
	return c
}

// defaultData is the system's directory for root, and the user's own for others.
func defaultData() string {
	if os.Geteuid() == 0 {
		return "/var/lib/slipway"
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "share", "slipway")
	}
	return "slipway-data"
}

// defaultTemplates is beside the program, where make build puts them.
func defaultTemplates() string {
	exe, err := os.Executable()
	if err != nil {
		return ""
	}
	return filepath.Join(filepath.Dir(exe), "templates")
}
