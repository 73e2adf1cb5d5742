// Package arch checks that the arrows between the parts go one way.
package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const root = "slipway.dev/"

type pkg struct {
	ImportPath   string
	Dir          string
	Doc          string
	Name         string
	Imports      []string
	TestImports  []string
	XTestImports []string
	GoFiles      []string
}

// packages are all of the workspace.
func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Doc,Name,Imports,TestImports,XTestImports,GoFiles", root+"...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var list []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
}

// part is the first two elements below the root: "services/vm", "pkg/jobs", "gateway".
func part(path string) (module, sub string) {
	module, rest, _ := strings.Cut(strings.TrimPrefix(path, root), "/")
	sub, _, _ = strings.Cut(rest, "/")
	return module, sub
}

// mayImport are the modules that a module may use, besides itself.
var mayImport = map[string]string{
	"proto": "", "pkg": "proto", "services": "proto pkg", "gateway": "proto pkg", "deploy": "proto pkg services gateway",
}

func TestArrows(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, p := range packages(t) {
		from, service := part(p.ImportPath)
		for _, i := range append(append(p.Imports, p.TestImports...), p.XTestImports...) {
			if strings.HasPrefix(i, "libvirt.org/go/libvirt") && service != "node" {
				t.Errorf("%s imports libvirt; only services/node may", p.ImportPath)
			}
			if !strings.HasPrefix(i, root) {
				continue
			}
			seen++
			to, other := part(i)
			switch {
			case to != from && !strings.Contains(" "+mayImport[from]+" ", " "+to+" "):
				t.Errorf("%s imports %s", p.ImportPath, i)
			case from == "services" && to == "services" && other != service && other != "internal":
				t.Errorf("%s imports another service: %s", p.ImportPath, i)
			case from == "deploy" && to == "services" && strings.Count(i, "/") > 2 && !strings.HasSuffix(p.ImportPath, "_test"):
				t.Errorf("%s looks into a service: %s", p.ImportPath, i)
			}
		}
	}
	if seen < 100 {
		t.Errorf("only %d imports were checked", seen)
	}
}

// TestReadable holds what a reader expects: every package says what it is for, no file is too long.
func TestReadable(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, p := range packages(t) {
		if strings.HasPrefix(p.ImportPath, root+"proto") {
			continue // generated
		}
		if p.Doc == "" && len(p.GoFiles) > 0 {
			t.Errorf("%s does not say what it is for", p.ImportPath)
		}
		files, err := filepath.Glob(filepath.Join(p.Dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if strings.HasSuffix(f, ".pb.go") {
				continue // generated
			}
			seen++
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(text, []byte("\n")); n > 600 {
				t.Errorf("%s has %d lines", f, n)
			}
		}
	}
	if seen == 0 {
		t.Fatal("no file was checked")
	}
}
