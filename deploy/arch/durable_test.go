package arch

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// notState lists the files that may write without pkg/durable, and why.
var notState = map[string]string{
	"pkg/durable/durable.go":                       "the one way",
	"services/node/internal/seed/iso.go":           "in a temporary directory; the image made of it is committed",
	"services/node/internal/bridge/forward.go":     "switches of the kernel",
	"services/node/internal/libvirt/files.go":      "settings that are written at every start",
	"services/node/cmd/libvirtfloor/main.go":       "a measuring program",
	"services/node/internal/hypertest/cases_cd.go": "a test",
	"gateway/internal/openapigen/main.go":          "a generator",
	"gateway/internal/rest/resttest/transcript.go": "transcripts, rewritten with -update",
	"deploy/guest/cmd/slipway-guest/apply.go":      "inside a guest",
	"deploy/guest/cmd/slipway-guest/net.go":        "switches of the guest's kernel",
}

var fileWrite = regexp.MustCompile(`\bos\.(WriteFile|Rename)\(`)

// TestFilesAreDurable: state goes to the disk through pkg/durable, so that it survives a power loss.
func TestFilesAreDurable(t *testing.T) {
	t.Parallel()
	seen, used := 0, map[string]bool{}
	for _, p := range packages(t) {
		if strings.HasPrefix(p.ImportPath, root+"deploy/bench") {
			continue
		}
		for _, name := range p.GoFiles {
			path := filepath.Join(p.Dir, name)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			seen++
			if !fileWrite.Match(text) {
				continue
			}
			rel := strings.TrimPrefix(p.ImportPath, root) + "/" + name
			if _, ok := notState[rel]; !ok {
				t.Errorf("%s writes or renames a file itself: use pkg/durable", rel)
			}
			used[rel] = true
		}
	}
	for rel := range notState {
		if !used[rel] {
			t.Errorf("%s writes no file any more: remove its exception", rel)
		}
	}
	if seen < 200 {
		t.Errorf("only %d files were looked at", seen)
	}
}
