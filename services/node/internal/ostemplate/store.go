// Package ostemplate knows the OS templates of a node by name: which image is which OS, and what it needs.
package ostemplate

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/durable"
	"slipway.dev/pkg/fault"
	"slipway.dev/services/node/internal/hyper"
	"slipway.dev/services/node/internal/image"
	"slipway.dev/services/node/internal/template"
)

// OS is the description of a template. It is also the content of a .json file beside an image.
type OS struct {
	Name       string `json:"name"`
	Title      string `json:"title"`
	File       string `json:"file,omitempty"` // image beside the description
	SHA256     string `json:"sha256"`
	Format     string `json:"format"`
	MinRAMMiB  int32  `json:"min_ram_mib"`
	MinDiskMiB int32  `json:"min_disk_mib"`
	OSType     string `json:"os_type"`
	OSGroup    string `json:"os_group"`
	Version    string `json:"version"`
}

// maxText bounds the texts of a description.
const maxText = 255

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,62}$`)

// check refuses what the control plane would not take: it would then take no sign of life with this template.
func (o OS) check() error {
	switch {
	case !nameForm.MatchString(o.Name):
		return fault.Invalid.With("%.60q is not a name for an OS", o.Name).On("name")
	case o.MinRAMMiB < 0 || o.MinDiskMiB < 0:
		return fault.Invalid.With("an OS needs no less than nothing").On("min_ram_mib")
	}
	for _, text := range []string{o.Title, o.OSType, o.OSGroup, o.Version} {
		if len(text) > maxText || strings.ContainsRune(text, 0) {
			return fault.Invalid.With("texts have at most %d bytes, and no zero byte", maxText).On("title")
		}
	}
	return nil
}

// Store is a directory of descriptions over a store of images. Several goroutines may read; adding is one at a time.
type Store struct {
	dir    string
	images *template.Store

	mu  sync.Mutex
	bad map[string]string // file and what is wrong with it
	log *slog.Logger
}

// Open opens the store of descriptions in root/os. What is left out because it is damaged is logged, once.
func Open(root string, images *template.Store, log *slog.Logger) (*Store, error) {
	s := &Store{dir: filepath.Join(root, "os"), images: images, bad: map[string]string{}, log: log}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory of OS descriptions: %w", err)
	}
	return s, nil
}

// Bad counts the templates that were left out, because their description or image is damaged or not acceptable.
func (s *Store) Bad() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.bad)
}

// LeftOut is a template that was left out.
type LeftOut struct {
	File, Reason string // File is without the folder; both are valid UTF-8
}

// maxReason bounds the reason why a template was left out, in bytes.
const maxReason = 500

// LeftOut lists the templates that were left out, by file.
func (s *Store) LeftOut() []LeftOut {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]LeftOut, 0, len(s.bad))
	for file, reason := range s.bad {
		reason = reason[:min(len(reason), maxReason)]
		list = append(list, LeftOut{strings.ToValidUTF8(filepath.Base(file), "?"), strings.ToValidUTF8(reason, "?")})
	}
	slices.SortFunc(list, func(a, b LeftOut) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Reason, b.Reason))
	})
	return list
}

// note records whether a file is good. A template that is not stops no other one.
func (s *Store) note(file string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		delete(s.bad, file)
		return
	}
	if s.bad[file] != err.Error() {
		s.log.Error("an OS template is left out", "file", file, "err", err)
	}
	s.bad[file] = err.Error()
}

// List returns every OS with an installed image, by name. A description that cannot be read is left out.
func (s *Store) List() ([]OS, error) {
	files, err := filepath.Glob(filepath.Join(s.dir, "*.json"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	var list []OS
	for _, f := range files {
		o, err := s.installed(f)
		if err == nil {
			list = append(list, o)
		}
		if errors.Is(err, hyper.ErrNoTemplate) {
			err = nil // the image is being replaced
		}
		s.note(f, err)
	}
	return list, nil
}

// installed reads the description of an OS whose image is installed. The OS needs at least a disk of the image's size,
// whatever its description says.
func (s *Store) installed(file string) (OS, error) {
	o, err := read(file)
	if err == nil {
		err = o.check()
	}
	if err != nil {
		return o, err
	}
	image, err := s.images.Get(o.SHA256)
	if err != nil {
		return o, err
	}
	o.MinDiskMiB = max(o.MinDiskMiB, clamp.Int32((image.VirtualSize+1<<20-1)>>20))
	return o, nil
}

// Get returns the OS of this name, or false if it is not installed.
func (s *Store) Get(name string) (OS, bool) {
	if !nameForm.MatchString(name) {
		return OS{}, false
	}
	o, err := s.installed(filepath.Join(s.dir, name+".json"))
	return o, err == nil
}

// Add installs an image file under an OS name. A previous image of that name stays for the disks that are based on it; new disks
// use the new image.
func (s *Store) Add(ctx context.Context, file string, o OS) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.Format == "" {
		o.Format = image.QCOW2
	}
	if _, err := s.images.Install(ctx, file, template.Spec{SHA256: o.SHA256, Format: o.Format}); err != nil {
		return fmt.Errorf("template %s: %w", o.Name, err)
	}
	o.File = ""
	text, err := json.MarshalIndent(o, "", "  ")
	if err != nil {
		return err
	}
	return durable.Replace(filepath.Join(s.dir, o.Name+".json"), text, 0o600)
}

// AddAll installs every description of a directory with the image beside it. A missing directory counts as empty. What
// cannot be installed is left out: one bad template keeps no others from being used.
func (s *Store) AddAll(ctx context.Context, dir string) error {
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		s.note(dir, err)
		return nil
	}
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		if strings.HasSuffix(f.Name(), ".json") {
			file := filepath.Join(dir, f.Name())
			s.note(file, s.addFrom(ctx, file))
		}
	}
	return nil
}

// addFrom installs the OS of one description, with the image beside it.
func (s *Store) addFrom(ctx context.Context, file string) error {
	o, err := read(file)
	if err != nil {
		return err
	}
	if have, ok := s.Get(o.Name); ok && have.SHA256 == o.SHA256 {
		return nil
	}
	return s.Add(ctx, filepath.Join(filepath.Dir(file), filepath.Base(o.File)), o)
}

func read(path string) (o OS, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return o, err
	}
	if err := json.Unmarshal(text, &o); err != nil {
		return o, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return o, nil
}
