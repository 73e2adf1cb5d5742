package arch

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"
)

// oldest are the versions below which something is known that reaches us.
var oldest = map[string]string{
	"google.golang.org/grpc":            "v1.82.1",
	"github.com/jackc/pgx/v5":           "v5.9.2",
	"github.com/nats-io/nats-server/v2": "v2.12.6",
	"golang.org/x/crypto":               "v0.52.0",
	"golang.org/x/net":                  "v0.56.0",
	"github.com/golang-jwt/jwt/v5":      "v5.2.2",
	"github.com/go-jose/go-jose/v4":     "v4.1.4", // not used today
}

// tooOld lists the requirements of a go.mod that are older than allowed.
func tooOld(t *testing.T, name string, text []byte) (old []string, known int) {
	t.Helper()
	m, err := modfile.Parse(name, text, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range m.Require {
		least, ok := oldest[r.Mod.Path]
		if !ok {
			continue
		}
		known++
		if semver.Compare(r.Mod.Version, least) < 0 {
			old = append(old, name+": "+r.Mod.String()+", need "+least)
		}
	}
	return old, known
}

// TestPins: no module that we build with is older than the oldest that is known to be sound. make vuln looks at everything.
func TestPins(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../*/go.mod")
	if err != nil || len(files) != 6 {
		t.Fatalf("%v %v", files, err)
	}
	all := 0
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		old, known := tooOld(t, f, text)
		if all += known; len(old) > 0 {
			t.Error(old)
		}
	}
	if all < 20 {
		t.Errorf("only %d requirements are known", all)
	}
	planted := "module m\nrequire (\n golang.org/x/net v0.9.0\n golang.org/x/crypto v0.52.0 // indirect\n)\n"
	if old, _ := tooOld(t, "planted", []byte(planted)); len(old) != 1 {
		t.Errorf("of one that is planted, found: %v", old)
	}
}
