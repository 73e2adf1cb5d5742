package gateway_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// knownCall is a row of the table of calls that clients of the dialect know.
type knownCall struct {
	status string // served, 15, 16, later, or not-ours
	route  string // method and path, with {} for each variable
	why    string // of a call that is not ours
}

const calls = "testdata/calls.txt"

func readCalls(t *testing.T) (list []knownCall) {
	t.Helper()
	text, err := os.ReadFile(calls)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		f := strings.Fields(line)
		if len(f) < 3 {
			t.Fatalf("%s: %q", calls, line)
		}
		list = append(list, knownCall{f[0], f[1] + " " + f[2], strings.Join(f[3:], " ")})
	}
	return list
}

// TestCalls: the table says of each call whether the gateway serves it, which issue brings it, or why it is not ours, and that
// is so. With -v the test prints how many there are of each; make coverage-api does that.
func TestCalls(t *testing.T) {
	t.Parallel()
	served := map[string]bool{}
	for _, r := range routes() {
		served[r.Method+" "+variable.ReplaceAllString(r.Path, "{}")] = true
	}
	count, seen := map[string]int{}, map[string]bool{}
	list := readCalls(t)
	for _, c := range list {
		if seen[c.route] {
			t.Errorf("%s stands twice in the table", c.route)
		}
		seen[c.route] = true
		count[c.status]++
		switch c.status {
		case "served":
			if !served[c.route] {
				t.Errorf("%s is said to be served, and no route has it", c.route)
			}
			continue
		case "15", "16", "later":
		case "not-ours":
			if c.why == "" {
				t.Errorf("%s is not ours, without a reason", c.route)
			}
		default:
			t.Errorf("%s has the status %q", c.route, c.status)
		}
		if served[c.route] {
			t.Errorf("%s is served, and the table says %q", c.route, c.status)
		}
	}
	for _, route := range originalCalls(t) {
		if !seen[route] {
			t.Errorf("%s is not in the table", route)
		}
	}
	t.Logf("%d calls: %d served, %d come with issue 15, %d with issue 16, %d later, %d are not ours",
		len(list), count["served"], count["15"], count["16"], count["later"], count["not-ours"])
}

var callRow = regexp.MustCompile("^\\| (GET|POST|DELETE) \\| `([^`?]*)")

// originalCalls lists the calls of the document that the table was made of, where it lies beside the project.
func originalCalls(t *testing.T) (list []string) {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "shared", "design", "vmmanager6-calls.md"))
	if err != nil {
		return nil
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if m := callRow.FindStringSubmatch(lines.Text()); m != nil {
			service := "/vm/v3"
			if strings.HasPrefix(m[2], "/public/") || m[2] == "/token" {
				service = "/auth/v4"
			}
			list = append(list, fmt.Sprintf("%s %s%s", m[1], service, variable.ReplaceAllString(m[2], "{}")))
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
