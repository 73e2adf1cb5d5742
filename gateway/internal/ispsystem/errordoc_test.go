package ispsystem

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var updateDoc = flag.Bool("update-errors", false, "write the table of docs/errors.md")

// TestErrorsAreDocumented: the table of docs/errors.md is the table of errors.
func TestErrorsAreDocumented(t *testing.T) {
	t.Parallel()
	const path, head = "../../../docs/errors.md", "| number | HTTP | `value.reason` | meaning |\n|---|---|---|---|\n"
	var table strings.Builder
	table.WriteString(head)
	for _, k := range Errors {
		reason := "any other of class " + k.Code.String()
		if k.Reason != "" {
			reason = "`" + k.Reason + "`"
		}
		fmt.Fprintf(&table, "| %d | %d | %s | %s |\n", k.Number, k.HTTP, reason, k.Meaning)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if *updateDoc {
		before, _, _ := strings.Cut(string(text), head)
		if err := os.WriteFile(path, []byte(before+table.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !strings.HasSuffix(string(text), table.String()) {
		t.Error("docs/errors.md is not the table of errors: run this test with -update-errors")
	}
}
