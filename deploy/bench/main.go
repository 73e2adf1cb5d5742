// Bench measures a stack against floors in the same run, alternately, and prints a table of ratios. Absolute figures
// change from machine to machine and hour to hour; only the ratios are comparable. Load goes only to the loopback.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"slipway.dev/pkg/pg/pgembed"

	"slipway.dev/services/auth"
)

func main() {
	bin := flag.String("bin", "bin", "directory of the programs that make build and make services made")
	floor := flag.String("floor", "", "serve the floor on this address, for the bench itself")
	seconds := flag.Float64("seconds", 3, "length of one measurement")
	rounds := flag.Int("rounds", 5, "measurements of each thing; medians are shown")
	only := flag.String("only", "", "start, get, login, flood, back, lists, whole, scale, own, nodes, create, console or claim; empty for all")
	scale := flag.Int("scale", 1_000_000, "hosts of the large estate of scale, which takes minutes to fill; 0 leaves scale out")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var err error
	if *floor != "" {
		err = serveFloor(ctx, *floor, os.Getenv("FLOOR_POSTGRES_URL"))
	} else {
		err = run(ctx, *bin, time.Duration(*seconds*float64(time.Second)), *rounds, *only, *scale)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is one run.
type bench struct {
	bin    string
	dir    string
	url    string // of the database that all share
	length time.Duration
	rounds int
	hosts  int    // of the large estate
	vm     string // address of vm, of the separate processes that run
	master string // key of auth, of all stacks of a run
	rows   [][]string
}

func run(ctx context.Context, bin string, length time.Duration, rounds int, only string, scale int) (err error) {
	b := &bench{length: length, rounds: rounds, hosts: scale, master: auth.NewMasterKey()}
	if b.bin, err = filepath.Abs(bin); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "slipway-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if err := os.Chmod(b.dir, 0o755); err != nil {
		return err
	}
	db, err := pgembed.Start(ctx, pgembed.Config{Dir: filepath.Join(b.dir, "postgres"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer db.Stop(context.WithoutCancel(ctx)) //nolint:errcheck // its data is thrown away
	b.url = db.URL()
	for _, part := range []struct {
		name string
		run  func(context.Context) error
	}{{"start", b.start}, {"get", b.get}, {"login", b.logins}, {"flood", b.flood}, {"back", b.back}, {"lists", b.lists}, {"whole", b.wholes}, {"scale", b.scale}, {"own", b.own}, {"nodes", b.nodes}, {"create", b.create}, {"console", b.consoles}, {"claim", b.claim}} {
		if only == "" || only == part.name {
			if err := part.run(ctx); err != nil {
				return fmt.Errorf("%s: %w", part.name, err)
			}
		}
	}
	b.print()
	return nil
}

// row adds a line to the table.
func (b *bench) row(what, figure, against, ratio string) {
	b.rows = append(b.rows, []string{what, figure, against, ratio})
	fmt.Fprintf(os.Stderr, "%s: %s (%s) %s\n", what, figure, against, ratio)
}

func (b *bench) print() {
	fmt.Println("| what | measured | against | ratio or bar |")
	fmt.Println("|---|---:|---:|---:|")
	for _, r := range b.rows {
		fmt.Printf("| %s |\n", strings.Join(r, " | "))
	}
}

func median[T int | float64 | time.Duration](list []T) T {
	s := slices.Clone(list)
	slices.Sort(s)
	return s[len(s)/2]
}

// percentile of a sorted list.
func percentile(sorted []time.Duration, p float64) time.Duration {
	return sorted[min(int(float64(len(sorted))*p), len(sorted)-1)]
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
