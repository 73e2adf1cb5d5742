package arch

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// blames finds faults that name a field: their text, and the field as it stands in the source.
var blames = regexp.MustCompile(`\.With\(\s*("(?:[^"\\]|\\.)*")[^\n]*(?:\n[^\n]*)?\)\.On\(([^\n]+?)\)`)

// TestFaultsNameFieldsApart keeps the name of a field out of the text of a fault: the dialect puts it there.
func TestFaultsNameFieldsApart(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, module := range []string{"pkg", "services", "gateway"} {
		err := filepath.WalkDir(filepath.Join("../..", module), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, ".pb.go") {
				return err
			}
			source, err := os.ReadFile(path) //#nosec G304,G122 -- the repository's own sources
			for _, m := range blames.FindAllSubmatch(source, -1) {
				seen++
				text, field := strings.Trim(string(m[1]), `"`), strings.Trim(string(m[2]), `"`)
				if strings.HasPrefix(text, "%s: ") || strings.HasPrefix(text, field+": ") {
					t.Errorf("%s: the text %q begins with the name of the field %s", path, text, field)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if seen < 100 {
		t.Errorf("found %d faults that name a field: the expression is out of date", seen)
	}
}
