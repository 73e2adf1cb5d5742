// Package seed turns the files of a NoCloud seed into a checked plan for one boot of the tiny guest.
//
// A seed is untrusted: Parse checks every value, and omits and reports invalid ones, so that the rest of the plan
// still yields a guest that can be reached.
package seed

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"
)

// maxFile bounds one file of the seed; the guest has little memory.
const maxFile = 1 << 20

// Seed is the plan. Zero values mean "leave as it is".
type Seed struct {
	InstanceID string
	Hostname   string
	FQDN       string // empty, or a dotted name that starts a line of /etc/hosts before Hostname
	KeepHosts  bool   // manage_etc_hosts: false
	NoPassword bool   // sshd refuses passwords
	NoRoot     bool   // sshd refuses root, the only user
	Password   Password
	Keys       []string // lines of authorized_keys
	Files      []File
	Commands   [][]string // argument vectors; a runcmd string has become sh -c
	Links      []Link
	DNS        []netip.Addr
	Search     []string
}

// Password is root's new password; at most one field is set.
type Password struct {
	Hash   string
	Text   string
	Locked bool
}

// File is one entry of write_files.
type File struct {
	Path    string
	Content []byte
	Mode    os.FileMode
	Append  bool
}

// Parse reads meta-data, user-data and network-config. The seed is usable even with errors.
func Parse(fsys fs.FS) (Seed, []error) {
	var s Seed
	var errs []error
	for _, part := range []struct {
		name  string
		parse func(*Seed, []byte) []error
	}{
		{"meta-data", parseMeta},
		{"user-data", parseUser}, // after meta-data: its host name wins
		{"network-config", parseNetwork},
	} {
		data, err := read(fsys, part.name)
		switch {
		case errors.Is(err, fs.ErrNotExist) && part.name == "network-config":
			continue // the one file that NoCloud lets us leave out
		case errors.Is(err, fs.ErrNotExist):
			errs = append(errs, fmt.Errorf("%s is missing", part.name))
			continue
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", part.name, err))
			continue
		}
		for _, err := range guarded(part.parse, &s, data) {
			errs = append(errs, fmt.Errorf("%s: %w", part.name, err))
		}
	}
	return s, errs
}

// guarded keeps the boot going if the YAML package panics on a document.
func guarded(parse func(*Seed, []byte) []error, s *Seed, data []byte) (errs []error) {
	defer func() {
		if recover() != nil {
			errs = append(errs, errors.New("not readable"))
		}
	}()
	return parse(s, data)
}

func read(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("more than %d bytes", maxFile)
	}
	return data, nil
}

func parseMeta(s *Seed, data []byte) []error {
	var doc struct {
		InstanceID    string `yaml:"instance-id"`
		LocalHostname string `yaml:"local-hostname"`
	}
	errs := decode(data, &doc)
	s.InstanceID = doc.InstanceID
	return append(errs, s.setHostname("local-hostname", doc.LocalHostname)...)
}

// setHostname accepts a plain or a dotted name; the first label of a dotted name becomes the host name.
func (s *Seed) setHostname(key, name string) []error {
	if name == "" {
		return nil
	}
	if err := checkHostname(name); err != nil {
		return []error{fmt.Errorf("%s: %w", key, err)}
	}
	label, _, dotted := strings.Cut(name, ".")
	s.Hostname, s.FQDN = label, ""
	if dotted {
		s.FQDN = name
	}
	return nil
}

var hostLabel = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)

func checkHostname(name string) error {
	if len(name) > 253 {
		return errors.New("host name is too long")
	}
	for label := range strings.SplitSeq(name, ".") {
		if !hostLabel.MatchString(label) {
			return fmt.Errorf("%.64q is no host name", name)
		}
	}
	return nil
}

var (
	yamlLine = regexp.MustCompile(`line \d+`)
	yamlType = regexp.MustCompile(`^line \d+: cannot unmarshal `)
)

// decode fills doc as far as it can. It keeps only the line number and the kind of an error, because errors of the
// YAML package quote values, which may be passwords and would appear on the console.
func decode(data []byte, doc any) []error {
	err := yaml.Unmarshal(data, doc)
	var types *yaml.TypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &types):
		var errs []error
		for _, text := range types.Errors {
			kind := "not as expected"
			if yamlType.MatchString(text) {
				kind = "wrong type of value"
			}
			errs = append(errs, fmt.Errorf("%s: %s", yamlLine.FindString(text), kind))
		}
		return errs
	default:
		at := yamlLine.FindString(err.Error())
		if at == "" {
			return []error{errors.New("not YAML")}
		}
		return []error{fmt.Errorf("%s: not YAML", at)}
	}
}
