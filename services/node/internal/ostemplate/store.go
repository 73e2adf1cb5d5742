// Package ostemplate knows the OS templates of a node by name: which image is which OS, and what it needs.
package ostemplate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"slipway.dev/pkg/durable"
	"slipway.dev/pkg/fault"
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

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,62}$`)

// Store is a directory of descriptions over a store of images. Several goroutines may read; adding is one at a time.
type Store struct {
	dir    string
	images *template.Store
}

// Open opens the store of descriptions in root/os.
func Open(root string, images *template.Store) (*Store, error) {
	s := &Store{dir: filepath.Join(root, "os"), images: images}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory of OS descriptions: %w", err)
	}
	return s, nil
}

// List returns every OS with an installed image, by name.
func (s *Store) List() ([]OS, error) {
	files, err := filepath.Glob(filepath.Join(s.dir, "*.json"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	var list []OS
	for _, f := range files {
		o, err := read(f)
		if err != nil {
			return nil, err
		}
		if _, err := s.images.Get(o.SHA256); err == nil {
			list = append(list, o)
		}
	}
	return list, nil
}

// Get returns the OS of this name, or false if it is not installed.
func (s *Store) Get(name string) (OS, bool) {
	if !nameForm.MatchString(name) {
		return OS{}, false
	}
	o, err := read(filepath.Join(s.dir, name+".json"))
	if err != nil {
		return OS{}, false
	}
	_, err = s.images.Get(o.SHA256)
	return o, err == nil
}

// Add installs an image file under an OS name. A previous image of that name stays for the disks that are based on it; new disks
// use the new image.
func (s *Store) Add(ctx context.Context, file string, o OS) error {
	if !nameForm.MatchString(o.Name) {
		return fault.Invalid.With("%.60q is not a name for an OS", o.Name).On("name")
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

// AddAll installs every description of a directory with the image beside it. A missing directory counts as empty.
func (s *Store) AddAll(ctx context.Context, dir string) error {
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".json") {
			continue
		}
		o, err := read(filepath.Join(dir, f.Name()))
		if err != nil {
			return err
		}
		if have, ok := s.Get(o.Name); ok && have.SHA256 == o.SHA256 {
			continue
		}
		if err := s.Add(ctx, filepath.Join(dir, filepath.Base(o.File)), o); err != nil {
			return err
		}
	}
	return nil
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
