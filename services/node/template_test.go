package node_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestTemplatesAreSentOnChange: a sign of life has the templates when they changed, or when vm does not know them.
func TestTemplatesAreSentOnChange(t *testing.T) {
	t.Parallel()
	root, dir := t.TempDir(), t.TempDir()
	image := make([]byte, 1<<20)
	about := fmt.Sprintf(`{"name":"tiny","file":"tiny.raw","format":"raw","sha256":"%x","min_ram_mib":16,"min_disk_mib":1}`, sha256.Sum256(image))
	for name, text := range map[string][]byte{"tiny.raw": image, "tiny.json": []byte(about)} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	svc, _, vm := startWith(t, root, dir, &fakeVM{})
	sign := func(what string, signs, templates int, asOf string) {
		t.Helper()
		vm.signs = 0
		if _, err := svc.Register(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(vm.last.GetDescription().GetTemplates()); n != templates || vm.signs != signs || vm.last.GetTemplatesAsOf() != asOf {
			t.Errorf("%s: %d signs, the last with %d templates, as of %q", what, vm.signs, n, vm.last.GetTemplatesAsOf())
		}
	}
	sign("an older vm", 1, 1, "")
	sign("an older vm, again", 1, 1, "")
	vm.knows = "a"
	sign("acknowledged", 1, 1, "")
	sign("known", 1, 0, "a")
	vm.knows = ""
	sign("vm has forgotten them", 2, 1, "")
	vm.knows = "b"
	sign("acknowledged again", 1, 1, "")
	sign("known again", 1, 0, "b")
	if err := os.Remove(filepath.Join(root, "os", "tiny.json")); err != nil {
		t.Fatal(err)
	}
	sign("one is gone", 1, 0, "")
	sign("known to be gone", 1, 0, "b")
}
