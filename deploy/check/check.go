// Package check looks at a running installation and says what it lacks to survive the failure of any one of its parts. It
// changes nothing.
package check

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"slipway.dev/deploy/fsck"
)

// Config names what is looked at. What is empty is listed as unchecked.
type Config struct {
	API      *fsck.Client // logged in as an administrator
	Postgres string       // URL, of a superuser or a member of pg_monitor
	NATS     string       // URLs, comma separated
	Gateways []string     // URLs of all gateways
	Certs    []string     // directories with certificates
	Dirs     []string     // directories whose file systems need room
	// Services are the names of the services with a schema.
	Services []string
}

// Missing is something that the installation lacks.
type Missing struct {
	Area string `json:"area"` // database, bus, services, nodes, certificates, clocks, disks, consistency
	What string `json:"what"`
}

// Report is the result. If something is unchecked, a report without anything missing proves nothing.
type Report struct {
	Missing   []Missing `json:"missing"`
	Unchecked []string  `json:"unchecked"`
	Facts     []string  `json:"facts"`
}

func (r *Report) miss(area, format string, args ...any) {
	r.Missing = append(r.Missing, Missing{area, fmt.Sprintf(format, args...)})
}

func (r *Report) skip(format string, args ...any) {
	r.Unchecked = append(r.Unchecked, fmt.Sprintf(format, args...))
}

func (r *Report) fact(format string, args ...any) {
	r.Facts = append(r.Facts, fmt.Sprintf(format, args...))
}

// partTime bounds how long one part of the installation may take to answer.
const partTime = 20 * time.Second

// Run looks at everything.
func Run(ctx context.Context, c Config) *Report {
	r := &Report{Missing: []Missing{}, Unchecked: []string{}, Facts: []string{}}
	for _, part := range []struct {
		name string
		look func(context.Context, Config, *Report) error
	}{
		{"database", database},
		{"bus", theBus},
		{"gateways", gateways},
		{"certificates", certificates},
		{"nodes", nodes},
		{"disks", disks},
		{"consistency", consistency},
	} {
		ctx, stop := context.WithTimeout(ctx, partTime)
		if err := part.look(ctx, c, r); err != nil {
			r.skip("%s: %v", part.name, err)
		}
		stop()
	}
	return r
}

// Print writes the report for people, or as one JSON object.
func (r *Report) Print(w io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(r)
	}
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, m := range r.Missing {
		fmt.Fprintf(table, "missing\t%s\t%s\n", m.Area, m.What)
	}
	for _, u := range r.Unchecked {
		fmt.Fprintf(table, "not looked at\t%s\t\n", u)
	}
	for _, f := range r.Facts {
		fmt.Fprintf(table, "in order\t%s\t\n", f)
	}
	return table.Flush()
}
