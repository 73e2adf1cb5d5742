package all_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"slipway.dev/proto/all"
)

var service = regexp.MustCompile(`(?m)^service \w+ \{`)

// TestFilesIsComplete compares the list with the protos that declare a service.
func TestFilesIsComplete(t *testing.T) {
	t.Parallel()
	var want, got []string
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".proto" {
			return err
		}
		text, err := os.ReadFile(path)
		if service.Match(text) {
			want = append(want, strings.TrimPrefix(filepath.ToSlash(path), "../"))
		}
		return err
	})
	if err != nil || len(want) < 20 {
		t.Fatalf("%d protos with services: %v", len(want), err)
	}
	for _, f := range all.Files() {
		got = append(got, f.Path())
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		t.Errorf("proto/all lists %v, want %v", got, want)
	}
}
