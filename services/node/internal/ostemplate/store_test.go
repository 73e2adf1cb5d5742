package ostemplate_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/node/internal/image"
	"slipway.dev/services/node/internal/ostemplate"
	"slipway.dev/services/node/internal/template"
)

// disk is an empty qcow2 image, made by the system's own tool.
func disk(t *testing.T) []byte {
	t.Helper()
	tool, err := image.Find()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "d.qcow2")
	if err := tool.Create(t.Context(), path, 1<<20, nil, nil); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func open(t *testing.T) *ostemplate.Store {
	t.Helper()
	root := t.TempDir()
	images, err := template.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ostemplate.Open(root, images)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAddAll(t *testing.T) {
	t.Parallel()
	s, dir, img := open(t), t.TempDir(), disk(t)
	o := ostemplate.OS{Name: "tiny", File: "tiny.qcow2", SHA256: fmt.Sprintf("%x", sha256.Sum256(img)), MinRAMMiB: 128, MinDiskMiB: 1}
	write := func() {
		text, _ := json.Marshal(o)
		for name, b := range map[string][]byte{"tiny.json": text, "tiny.qcow2": img} {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	write()
	for range 2 {
		if err := s.AddAll(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
	}
	if l, err := s.List(); err != nil || len(l) != 1 || l[0].Name != "tiny" || l[0].MinRAMMiB != 128 {
		t.Errorf("list %v %v", l, err)
	}
	if err := s.AddAll(t.Context(), filepath.Join(dir, "none")); err != nil {
		t.Errorf("a directory that is not there: %v", err)
	}
	o.SHA256 = strings.Repeat("0", 64)
	write()
	if err := s.AddAll(t.Context(), dir); err == nil {
		t.Error("an image with another checksum was installed")
	}
	o.Name = "../evil"
	if err := s.Add(t.Context(), filepath.Join(dir, "tiny.qcow2"), o); !errors.Is(err, fault.Invalid) {
		t.Errorf("name of an OS as a path: %v", err)
	}
}

func TestImport(t *testing.T) {
	t.Parallel()
	img := disk(t)
	hostile := bytes.Clone(img)
	copy(hostile[8:], []byte{0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 9}) // says that it stands on a backing file
	mux := http.NewServeMux()
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(img) }))
	defer plain.Close()
	serve := func(path string, b []byte) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b) })
	}
	serve("/gnu/SHA512SUMS", fmt.Appendf(nil, "%x  other\n%x  d.qcow2\n", sha512.Sum512(nil), sha512.Sum512(img)))
	serve("/gnu/d.qcow2", img)
	serve("/bsd/CHECKSUM", fmt.Appendf(nil, "# d.qcow2: 1 bytes\nSHA256 (d.qcow2) = %x\n", sha256.Sum256(img)))
	serve("/bsd/d.qcow2", img)
	serve("/bad/SHA256SUMS", fmt.Appendf(nil, "%x *d.qcow2\n", sha256.Sum256(nil)))
	serve("/bad/d.qcow2", img)
	serve("/none/SHA256SUMS", []byte("\n"))
	serve("/none/d.qcow2", img)
	serve("/hostile/SHA256SUMS", fmt.Appendf(nil, "%x  d.qcow2\n", sha256.Sum256(hostile)))
	serve("/hostile/d.qcow2", hostile)
	serve("/away/SHA256SUMS", fmt.Appendf(nil, "%x  d.qcow2\n", sha256.Sum256(img)))
	mux.Handle("/away/d.qcow2", http.RedirectHandler(plain.URL, http.StatusFound))
	srv := httptest.NewTLSServer(mux)
	defer srv.Close()
	client := ostemplate.Client()
	client.Transport = srv.Client().Transport

	for _, tt := range []struct {
		dir, sums string
		ok        bool
	}{
		{"gnu", "SHA512SUMS", true},
		{"bsd", "CHECKSUM", true},
		{"bad", "SHA256SUMS", false},
		{"none", "SHA256SUMS", false},
		{"hostile", "SHA256SUMS", false},
		{"away", "SHA256SUMS", false},
		{"missing", "SHA256SUMS", false},
	} {
		t.Run(tt.dir, func(t *testing.T) {
			s := open(t)
			base := srv.URL + "/" + tt.dir + "/"
			o, err := s.Import(t.Context(), client, ostemplate.OS{Name: "debian-12"}, base+"d.qcow2", base+tt.sums)
			if (err == nil) != tt.ok {
				t.Fatalf("import: %v", err)
			}
			l, err := s.List()
			if err != nil || (len(l) == 1) != tt.ok || tt.ok && o.SHA256 != l[0].SHA256 {
				t.Errorf("store %v %v", l, err)
			}
		})
	}
	if _, err := open(t).Import(t.Context(), client, ostemplate.OS{Name: "x"}, plain.URL, plain.URL); !errors.Is(err, fault.Invalid) {
		t.Errorf("import over plain HTTP: %v", err)
	}
}
