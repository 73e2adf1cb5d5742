// Package template stores the images that disks are based on: read-only files named by their SHA-256.
package template

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"

	"slipway.dev/pkg/durable"
	"slipway.dev/services/node/internal/hyper"
	"slipway.dev/services/node/internal/image"
)

// Spec is the control plane's description of a template that is not installed yet.
type Spec struct {
	SHA256     string // hex, of the file as delivered
	Format     string // image.QCOW2 or image.Raw
	MaxSizeMiB int64  // largest virtual size to accept, 0 for 1 TiB
}

// Template is an installed template.
type Template struct {
	SHA256      string    `json:"sha256"`
	Format      string    `json:"format"`
	FileBytes   int64     `json:"file_bytes"`
	VirtualSize int64     `json:"virtual_size"` // bytes
	Installed   time.Time `json:"installed"`
	Path        string    `json:"-"`
}

// Store is a directory of templates. Safe for many goroutines.
type Store struct {
	dir string

	mu         sync.Mutex
	installing map[string]*sync.Mutex
	known      map[string]Template
}

var sum = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Open opens the store in root/templates.
func Open(root string) (*Store, error) {
	s := &Store{dir: filepath.Join(root, "templates"), installing: map[string]*sync.Mutex{}, known: map[string]Template{}}
	if err := os.MkdirAll(s.dir, 0o711); err != nil { // passable: the hypervisor's user opens the files by name
		return nil, fmt.Errorf("make template directory: %w", err)
	}
	return s, os.Chmod(s.dir, 0o711)
}

// Get returns an installed template, or hyper.ErrNoTemplate.
func (s *Store) Get(sha256 string) (Template, error) {
	if !sum.MatchString(sha256) {
		return Template{}, hyper.ErrInvalid.With("a template is named by a SHA-256 in hex").On("template")
	}
	s.mu.Lock()
	t, ok := s.known[sha256]
	s.mu.Unlock()
	if ok {
		if _, err := os.Lstat(t.Path); err == nil {
			return t, nil
		}
	}
	b, err := os.ReadFile(s.path(sha256, "json"))
	if errors.Is(err, fs.ErrNotExist) {
		return Template{}, hyper.ErrNoTemplate.With("template %s is not installed on this node", sha256)
	}
	if err != nil {
		return Template{}, fmt.Errorf("read template: %w", err)
	}
	if err := json.Unmarshal(b, &t); err != nil {
		return Template{}, fmt.Errorf("read template %s: %w", sha256, err)
	}
	if t.SHA256 != sha256 || (t.Format != image.QCOW2 && t.Format != image.Raw) {
		return Template{}, fmt.Errorf("template %s: its description is of another", sha256)
	}
	t.Path = s.path(sha256, t.Format)
	if _, err := os.Lstat(t.Path); err != nil { // the description is written first
		return Template{}, hyper.ErrNoTemplate.With("template %s is not installed on this node", sha256).Wrap(err)
	}
	s.mu.Lock()
	s.known[sha256] = t
	s.mu.Unlock()
	return t, nil
}

// List returns the installed templates, sorted.
func (s *Store) List() ([]Template, error) {
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list templates: %w", err)
	}
	var out []Template
	for _, f := range files {
		id, isJSON := strings.CutSuffix(f.Name(), ".json")
		if !isJSON || !sum.MatchString(id) {
			continue
		}
		t, err := s.Get(id)
		if errors.Is(err, hyper.ErrNoTemplate) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	sort.Slice(out, func(i, k int) bool { return out[i].SHA256 < out[k].SHA256 })
	return out, nil
}

// Install copies a local file into the store, unless the store has it already. It inspects and hashes the copy, not the source,
// because another process could change the source meanwhile.
func (s *Store) Install(ctx context.Context, source string, spec Spec) (Template, error) {
	f, err := os.OpenFile(source, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return Template{}, fmt.Errorf("open template: %w", err)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return Template{}, image.ErrRefused.With("not a regular file").Wrap(err)
	}
	return s.Add(ctx, f, spec)
}

// Add is Install from a stream. It ends early if ctx does.
func (s *Store) Add(ctx context.Context, r io.Reader, spec Spec) (Template, error) {
	spec.SHA256 = strings.ToLower(spec.SHA256)
	if spec.Format != image.QCOW2 && spec.Format != image.Raw {
		return Template{}, image.ErrRefused.With("format %q is not one of qcow2, raw", spec.Format).On("format")
	}
	if spec.MaxSizeMiB == 0 {
		spec.MaxSizeMiB = 1 << 20
	}
	if t, err := s.Get(spec.SHA256); err == nil || !errors.Is(err, hyper.ErrNoTemplate) {
		return t, err
	}
	lock := s.lock(spec.SHA256)
	lock.Lock()
	defer lock.Unlock()
	if t, err := s.Get(spec.SHA256); err == nil {
		return t, nil
	}
	return s.add(ctx, r, spec)
}

func (s *Store) add(ctx context.Context, r io.Reader, spec Spec) (Template, error) {
	path := s.path(spec.SHA256, spec.Format)
	tmp := path + ".partial"
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return Template{}, fmt.Errorf("create template: %w", err)
	}
	defer os.Remove(tmp) // gone already when all went well
	defer f.Close()

	hash, limit := sha256.New(), spec.MaxSizeMiB<<20+64<<20 // a qcow2 may be a little larger than its contents
	n, err := io.Copy(io.MultiWriter(f, hash), io.LimitReader(reader{ctx, r}, limit+1))
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return Template{}, hyper.ErrNoSpace.Wrap(err)
	case err != nil:
		return Template{}, fmt.Errorf("copy template: %w", err)
	case n > limit:
		return Template{}, image.ErrRefused.With("the image is larger than the %d MiB allowed", spec.MaxSizeMiB)
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != spec.SHA256 {
		return Template{}, image.ErrRefused.With("the image has SHA-256 %s, not %s", got, spec.SHA256).On("sha256")
	}
	info, err := image.Inspect(f, n, spec.Format, spec.MaxSizeMiB<<20)
	if err != nil {
		return Template{}, err
	}
	t := Template{
		SHA256: spec.SHA256, Format: spec.Format, FileBytes: n, VirtualSize: info.VirtualSize,
		Installed: time.Now().UTC().Truncate(time.Second), Path: path,
	}
	if err := s.describe(t); err != nil {
		return Template{}, err
	}
	return t, image.Commit(tmp, path, func(f *os.File) error { return f.Chmod(0o444) })
}

func (s *Store) describe(t Template) error {
	b, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return err
	}
	if err := durable.Replace(s.path(t.SHA256, "json"), append(b, '\n'), 0o444); err != nil {
		return fmt.Errorf("describe template: %w", err)
	}
	return nil
}

func (s *Store) path(sha256, ext string) string { return filepath.Join(s.dir, sha256+"."+ext) }

func (s *Store) lock(sha256 string) *sync.Mutex {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.installing[sha256] == nil {
		s.installing[sha256] = &sync.Mutex{}
	}
	return s.installing[sha256]
}

// reader is a reader that fails once its context has ended.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
