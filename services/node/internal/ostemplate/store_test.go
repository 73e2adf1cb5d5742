package ostemplate_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/fetch"
	"slipway.dev/services/node/internal/image"
	"slipway.dev/services/node/internal/ostemplate"
	"slipway.dev/services/node/internal/template"
)

// imageMiB is the size that a disk over the image of the tests needs.
const imageMiB = 64

// disk is an empty qcow2 image, made by the system's own tool.
func disk(t *testing.T) []byte {
	t.Helper()
	tool, err := image.Find()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "d.qcow2")
	if err := tool.Create(t.Context(), path, imageMiB<<20-512, nil, nil); err != nil {
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
	return openAt(t, t.TempDir(), io.Discard)
}

func openAt(t *testing.T, root string, log io.Writer) *ostemplate.Store {
	t.Helper()
	images, err := template.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ostemplate.Open(root, images, slog.New(slog.NewTextHandler(log, nil)))
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
	if err := s.AddAll(t.Context(), dir); err != nil || s.Bad() != 1 {
		t.Errorf("an image with another checksum: %d left out, %v", s.Bad(), err)
	}
	o.Name = "../evil"
	if err := s.Add(t.Context(), filepath.Join(dir, "tiny.qcow2"), o); !errors.Is(err, fault.Invalid) {
		t.Errorf("name of an OS as a path: %v", err)
	}
}

// TestBadTemplates: one bad template among others is left out, logged and counted, and the others are installed; so is one
// that is damaged after it was installed.
func TestBadTemplates(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(o *ostemplate.OS, img []byte, path string){
		"a backing file": func(o *ostemplate.OS, img []byte, _ string) {
			copy(img[8:], []byte{0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 9})
			o.SHA256 = fmt.Sprintf("%x", sha256.Sum256(img))
		},
		"another checksum":  func(o *ostemplate.OS, _ []byte, _ string) { o.SHA256 = strings.Repeat("0", 64) },
		"no checksum":       func(o *ostemplate.OS, _ []byte, _ string) { o.SHA256 = "" },
		"no image":          func(o *ostemplate.OS, _ []byte, _ string) { o.File = "nothing.qcow2" },
		"a zero byte":       func(o *ostemplate.OS, _ []byte, _ string) { o.Title = "a\x00b" },
		"less than nothing": func(o *ostemplate.OS, _ []byte, _ string) { o.MinRAMMiB = -1 },
		"a long text":       func(o *ostemplate.OS, _ []byte, _ string) { o.OSGroup = strings.Repeat("x", 1000) },
		"no name":           func(o *ostemplate.OS, _ []byte, _ string) { o.Name = "../x" },
		"no image at all": func(o *ostemplate.OS, img []byte, _ string) {
			clear(img)
			o.SHA256 = fmt.Sprintf("%x", sha256.Sum256(img))
		},
		"a torn description": func(_ *ostemplate.OS, _ []byte, path string) {
			if err := os.WriteFile(path, []byte(`{"name":"ba`), 0o644); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var said bytes.Buffer
			root, dir := t.TempDir(), t.TempDir()
			s := openAt(t, root, &said)
			for _, n := range []string{"bad", "good"} {
				img := disk(t)
				path := filepath.Join(dir, n+".json")
				o := ostemplate.OS{Name: n, File: n + ".qcow2", SHA256: fmt.Sprintf("%x", sha256.Sum256(img))}
				torn := ""
				if n == "bad" {
					spoil(&o, img, path)
					if b, err := os.ReadFile(path); err == nil {
						torn = string(b)
					}
				}
				text, _ := json.Marshal(o)
				if torn != "" {
					text = []byte(torn)
				}
				for file, b := range map[string][]byte{path: text, filepath.Join(dir, n+".qcow2"): img} {
					if err := os.WriteFile(file, b, 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}
			for range 2 {
				if err := s.AddAll(t.Context(), dir); err != nil {
					t.Fatal(err)
				}
			}
			l, err := s.List()
			if err != nil || len(l) != 1 || l[0].Name != "good" || s.Bad() != 1 {
				t.Errorf("%v %v, %d left out", l, err, s.Bad())
			}
			if n := strings.Count(said.String(), "left out"); n != 1 || !strings.Contains(said.String(), "bad.json") {
				t.Errorf("logged %d times:\n%s", n, said.String())
			}
		})
	}
	t.Run("damaged later", func(t *testing.T) {
		t.Parallel()
		var said bytes.Buffer
		root := t.TempDir()
		s := openAt(t, root, &said)
		img := filepath.Join(t.TempDir(), "d.qcow2")
		if err := os.WriteFile(img, disk(t), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, n := range []string{"bad", "good"} {
			if err := s.Add(t.Context(), img, ostemplate.OS{Name: n, SHA256: fmt.Sprintf("%x", sha256.Sum256(disk(t)))}); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(root, "os", "bad.json"), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if l, err := s.List(); err != nil || len(l) != 1 || l[0].Name != "good" || s.Bad() != 1 {
				t.Errorf("%v %v, %d left out", l, err, s.Bad())
			}
		}
		if l := s.LeftOut(); len(l) != 1 || l[0].File != "bad.json" || l[0].Reason == "" {
			t.Errorf("left out are %q", l)
		}
		if n := strings.Count(said.String(), "left out"); n != 1 || !strings.Contains(said.String(), "bad.json") {
			t.Errorf("logged %d times:\n%s", n, said.String())
		}
	})
}

// TestLeastDisk: an OS needs a disk of its image's size, whatever its description says.
func TestLeastDisk(t *testing.T) {
	t.Parallel()
	s, img := open(t), filepath.Join(t.TempDir(), "d.qcow2")
	if err := os.WriteFile(img, disk(t), 0o644); err != nil {
		t.Fatal(err)
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(disk(t)))
	for name, says := range map[string]int32{"less": 1, "nothing": 0, "more": 4096} {
		if err := s.Add(t.Context(), img, ostemplate.OS{Name: name, SHA256: sum, MinDiskMiB: says}); err != nil {
			t.Fatal(err)
		}
		o, ok := s.Get(name)
		if want := max(says, imageMiB); !ok || o.MinDiskMiB != want {
			t.Errorf("%s: %d MiB, want %d", name, o.MinDiskMiB, want)
		}
	}
	if l, err := s.List(); err != nil || len(l) != 3 || l[0].MinDiskMiB != imageMiB {
		t.Errorf("%v %v", l, err)
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
	client := fetch.New(fetch.Config{Transport: srv.Client().Transport})

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
