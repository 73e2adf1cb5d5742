package fsck

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
)

// Print writes a report for people, or as one JSON object.
func (r Report) Print(w io.Writer, asJSON bool) error {
	if asJSON {
		if r.Findings == nil {
			r.Findings = []Finding{}
		}
		if r.Unchecked == nil {
			r.Unchecked = []string{}
		}
		return json.NewEncoder(w).Encode(r)
	}
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, f := range r.Findings {
		fmt.Fprintf(table, "%s\t%s\t%s\n", f.Kind, f.Object, f.Detail)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, u := range r.Unchecked {
		fmt.Fprintf(w, "not looked at: %s\n", u)
	}
	_, err := fmt.Fprintf(w, "%d findings; looked at %d nodes, %d hosts, %d machines, %d addresses\n",
		len(r.Findings), r.Nodes, r.Hosts, r.Machines, r.Addresses)
	return err
}
