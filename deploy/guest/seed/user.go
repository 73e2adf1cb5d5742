package seed

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"gopkg.in/yaml.v3"
)

// userDoc is the part of #cloud-config the guest knows; other keys are ignored, as cloud-init does with
// modules that are not installed.
type userDoc struct {
	Hostname    string      `yaml:"hostname"`
	FQDN        string      `yaml:"fqdn"`
	ManageHosts flag        `yaml:"manage_etc_hosts"`
	SSHPwauth   flag        `yaml:"ssh_pwauth"`
	DisableRoot flag        `yaml:"disable_root"`
	Password    string      `yaml:"password"`
	Keys        lines       `yaml:"ssh_authorized_keys"`
	Users       []yaml.Node `yaml:"users"`
	Chpasswd    struct {
		List  lines `yaml:"list"`
		Users []struct {
			Name     string `yaml:"name"`
			Password string `yaml:"password"`
			Type     string `yaml:"type"`
		} `yaml:"users"`
	} `yaml:"chpasswd"`
	Runcmd     []yaml.Node `yaml:"runcmd"`
	WriteFiles []struct {
		Path        string `yaml:"path"`
		Content     string `yaml:"content"`
		Encoding    string `yaml:"encoding"`
		Permissions string `yaml:"permissions"`
		Append      bool   `yaml:"append"`
	} `yaml:"write_files"`
}

type userEntry struct {
	Name      string `yaml:"name"`
	Keys      lines  `yaml:"ssh_authorized_keys"`
	Hash      string `yaml:"hashed_passwd"`
	Passwd    string `yaml:"passwd"` // cloud-init's other name for hashed_passwd
	PlainText string `yaml:"plain_text_passwd"`
	Lock      bool   `yaml:"lock_passwd"`
}

func parseUser(s *Seed, data []byte) []error {
	body := bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\ufeff")))
	if len(body) == 0 {
		return nil
	}
	first, _, _ := bytes.Cut(body, []byte("\n"))
	if body[0] != '{' && string(bytes.TrimSpace(first)) != "#cloud-config" {
		return []error{errors.New("neither #cloud-config nor JSON")}
	}
	var doc userDoc
	errs := decode(body, &doc)
	add := func(more ...error) { errs = append(errs, more...) }

	add(s.setHostname("hostname", doc.Hostname)...)
	if doc.FQDN != "" {
		host := s.Hostname
		add(s.setHostname("fqdn", doc.FQDN)...)
		if doc.Hostname != "" { // hostname names the machine, fqdn only its line in /etc/hosts
			s.Hostname = host
		}
	}
	s.KeepHosts = doc.ManageHosts == no
	s.NoPassword = doc.SSHPwauth == no
	s.NoRoot = doc.DisableRoot == yes
	add(s.addKeys(doc.Keys)...)
	// Users before passwords, as cloud-init runs them: chpasswd has the last word.
	for i := range doc.Users {
		add(s.addUser(&doc.Users[i])...)
	}
	if doc.Password != "" {
		add(s.setPassword("password", doc.Password, "")...)
	}
	for _, line := range doc.Chpasswd.List {
		name, password, ok := strings.Cut(line, ":")
		if !ok || name != "root" {
			add(errors.New("chpasswd: a line of list is not for root"))
			continue
		}
		add(s.setPassword("chpasswd", password, "")...)
	}
	for _, u := range doc.Chpasswd.Users {
		if u.Name != "root" {
			add(fmt.Errorf("chpasswd: %.64q: root is the only user", u.Name))
			continue
		}
		kind := u.Type
		if kind == "" {
			kind = "hash" // cloud-init's default
		}
		add(s.setPassword("chpasswd", u.Password, kind)...)
	}
	for i := range doc.Runcmd {
		add(s.addCommand(&doc.Runcmd[i])...)
	}
	for _, f := range doc.WriteFiles {
		file, err := newFile(f.Path, f.Content, f.Encoding, f.Permissions)
		if err != nil {
			add(fmt.Errorf("write_files: %w", err))
			continue
		}
		file.Append = f.Append
		s.Files = append(s.Files, file)
	}
	return errs
}

func (s *Seed) addUser(n *yaml.Node) []error {
	if n.Kind == yaml.ScalarNode && n.Value == "default" {
		return nil // asks for the image's own user, which is root
	}
	var u userEntry
	if n.Decode(&u) != nil {
		return []error{fmt.Errorf("users: entry at line %d: wrong type of value", n.Line)}
	}
	if u.Name != "root" {
		return []error{fmt.Errorf("users: %.64q: root is the only user", u.Name)}
	}
	errs := s.addKeys(u.Keys)
	if u.Hash == "" {
		u.Hash = u.Passwd
	}
	if u.Hash != "" {
		errs = append(errs, s.setPassword("users", u.Hash, "hash")...)
	} else if u.PlainText != "" {
		errs = append(errs, s.setPassword("users", u.PlainText, "text")...)
	}
	if u.Lock {
		s.Password = Password{Locked: true}
	}
	return errs
}

// cryptHash matches hashes of crypt(3), without colons and control characters, because the hash becomes a field of a
// line.
var cryptHash = regexp.MustCompile(`^\$(1|2[aby]|5|6|y|gy|7)\$[./A-Za-z0-9$=,]{8,300}$`)

// IsHash reports whether a text is a hash of crypt(3).
func IsHash(text string) bool { return cryptHash.MatchString(text) }

// setPassword accepts the kinds hash and text; without a kind it inspects the password, as cloud-init does.
func (s *Seed) setPassword(key, password, kind string) []error {
	if kind == "" {
		kind = "text"
		if cryptHash.MatchString(password) {
			kind = "hash"
		}
	}
	switch {
	case password == "":
		return []error{fmt.Errorf("%s: empty password", key)}
	case kind == "hash" && cryptHash.MatchString(password):
		s.Password = Password{Hash: password}
	case kind == "hash":
		return []error{fmt.Errorf("%s: not a crypt hash", key)}
	case kind != "text":
		return []error{fmt.Errorf("%s: type %.16q is not supported", key, kind)}
	case len(password) > 256 || strings.ContainsFunc(password, unicode.IsControl):
		return []error{fmt.Errorf("%s: password is too long or has control characters", key)}
	default:
		s.Password = Password{Text: password}
	}
	return nil
}

func (s *Seed) addKeys(keys []string) []error {
	var errs []error
	for _, key := range keys {
		key = strings.TrimSpace(key)
		if err := checkKey(key); err != nil {
			errs = append(errs, fmt.Errorf("ssh_authorized_keys: %w", err))
			continue
		}
		s.Keys = append(s.Keys, key)
	}
	return errs
}

// checkKey accepts "type base64 comment" on one line, without options before the type.
func checkKey(key string) error {
	if strings.ContainsFunc(key, unicode.IsControl) {
		return errors.New("control character in a key")
	}
	kind, rest, _ := strings.Cut(key, " ")
	blob, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	raw, err := base64.StdEncoding.DecodeString(blob)
	// The blob starts with the type again, as a string with four bytes of length.
	if err != nil || len(raw) < 4+len(kind) || kind == "" || string(raw[4:4+len(kind)]) != kind {
		return fmt.Errorf("%.32q… is no public key", key)
	}
	return nil
}

func (s *Seed) addCommand(n *yaml.Node) []error {
	var args []string
	var line string
	if n.Kind == yaml.SequenceNode && n.Decode(&args) == nil && len(args) > 0 {
		line = strings.Join(args, "")
	} else if n.Kind == yaml.ScalarNode && n.Decode(&line) == nil && line != "" {
		args = []string{"sh", "-c", line}
	} else {
		return []error{fmt.Errorf("runcmd: line %d: want a string or a list of strings", n.Line)}
	}
	if strings.ContainsRune(line, 0) {
		return []error{fmt.Errorf("runcmd: line %d: zero byte", n.Line)}
	}
	s.Commands = append(s.Commands, args)
	return nil
}

func newFile(name, content, encoding, permissions string) (File, error) {
	if !path.IsAbs(name) || path.Clean(name) != name || name == "/" || strings.ContainsFunc(name, unicode.IsControl) {
		return File{}, fmt.Errorf("%.64q is no clean absolute path", name)
	}
	f := File{Path: name, Content: []byte(content), Mode: 0o644}
	switch encoding {
	case "", "text/plain":
	case "b64", "base64":
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(content))
		if err != nil {
			return File{}, fmt.Errorf("%s: not base64", name)
		}
		f.Content = raw
	default:
		return File{}, fmt.Errorf("%s: encoding %.16q is not supported", name, encoding)
	}
	if permissions != "" {
		mode, err := strconv.ParseUint(strings.TrimPrefix(permissions, "0o"), 8, 32)
		if err != nil || mode > 0o777 {
			return File{}, fmt.Errorf("%s: permissions %.16q are not octal", name, permissions)
		}
		f.Mode = os.FileMode(mode)
	}
	return f, nil
}
