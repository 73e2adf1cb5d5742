// Command mutants tests the tests: it plants one small mistake at a time in a package, builds the package's tests with
// the mistake and reports whether a test fails. A mistake that no test notices survived.
//
//	mutants [-n 60] [-p 2] [-seed 1] [-state FILE] [-only REGEXP] [-again] [-list] [TARGET]…
//
// targets.txt names the targets: the folders whose code is changed, and the packages whose tests must notice. Mistakes
// that change nothing are listed in equal.txt, with the reason; they are neither planted nor counted. Results are kept
// in the state file, so that a run that was interrupted goes on. mutants runs in the root of the repository; PostgreSQL
// for the tests is best shared: bin/pgrun bin/mutants.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	n        int
	parallel int
	seed     string
	state    string
	only     *regexp.Regexp
	again    bool
	list     bool
	least    float64
}

func flags() (o options, names []string, err error) {
	flag.IntVar(&o.n, "n", 60, "mutants of each target")
	flag.IntVar(&o.parallel, "p", 2, "mutants at the same time")
	flag.StringVar(&o.seed, "seed", "1", "chooses the sample")
	flag.StringVar(&o.state, "state", "bin/mutants.jsonl", "file that keeps the results")
	only := flag.String("only", "", "regular expression on the names of mutants")
	flag.BoolVar(&o.again, "again", false, "run those again that survived")
	flag.BoolVar(&o.list, "list", false, "list the sample, run nothing")
	flag.Float64Var(&o.least, "least", 0, "fail when a target has a lower share killed, in percent")
	flag.Parse()
	o.only, err = regexp.Compile(*only)
	return o, flag.Args(), err
}

func run(ctx context.Context) error {
	o, names, err := flags()
	if err != nil {
		return err
	}
	targets, err := readTargets("tools/mutants/targets.txt", names)
	if err != nil {
		return err
	}
	equal, err := readEqual("tools/mutants/equal.txt")
	if err != nil {
		return err
	}
	results, err := openState(o.state)
	if err != nil {
		return err
	}
	defer results.close()
	low := 0
	for _, t := range targets {
		killed, err := t.test(ctx, o, equal, results)
		if err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		if killed < o.least {
			low++
		}
	}
	if stale := equal.stale(); len(names) == 0 && o.only.String() == "" && len(stale) > 0 {
		return fmt.Errorf("equal.txt names mutants that are not there any more: %q", stale)
	}
	if low > 0 {
		return fmt.Errorf("%d targets below %.0f %%", low, o.least)
	}
	return nil
}
