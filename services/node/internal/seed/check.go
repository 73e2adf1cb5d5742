package seed

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"unicode/utf8"

	"slipway.dev/pkg/sshline"
	"slipway.dev/services/node/internal/hyper"
)

const (
	maxUserData = 64 << 10
	maxLinks    = 16
)

var (
	instanceID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
	label      = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)
)

func check(s hyper.Seed) error {
	switch {
	case !instanceID.MatchString(s.InstanceID):
		return bad("instance_id", "an instance id is 1 to 128 letters, digits, dots, dashes and underscores")
	case !label.MatchString(s.Hostname):
		return bad("hostname", "a host name is 1 to 63 letters, digits and inner dashes")
	case s.FQDN != "" && !domain(s.FQDN):
		return bad("fqdn", "not a domain name")
	case s.PasswordHash != "" && hyper.CheckHash(s.PasswordHash) != nil:
		return bad("password_hash", "not a crypt(3) hash")
	case s.PasswordSerial < 0 || s.PasswordSerial > 0 && s.PasswordHash == "":
		return bad("password_serial", "a number of a password")
	case len(s.SSHKeys) > sshline.Max:
		return bad("ssh_keys", "more than %d keys", sshline.Max)
	case len(s.Links) > maxLinks:
		return bad("links", "more than %d links", maxLinks)
	}
	for i, k := range s.SSHKeys {
		if _, _, err := sshline.Parse(k); err != nil {
			return bad(fmt.Sprintf("ssh_keys[%d]", i), "%s", err)
		}
	}
	for i, l := range s.Links {
		if err := checkLink(l); err != nil {
			return bad(fmt.Sprintf("links[%d]", i), "%s", err)
		}
	}
	for i, d := range s.DNS {
		if !d.IsValid() || d.Zone() != "" {
			return bad(fmt.Sprintf("dns[%d]", i), "not an address")
		}
	}
	for i, d := range s.Search {
		if !domain(d) {
			return bad(fmt.Sprintf("search[%d]", i), "not a domain name")
		}
	}
	return checkUserData(s.UserData)
}

func bad(field, format string, args ...any) error {
	return hyper.ErrInvalid.With(format, args...).On(field)
}

func domain(s string) bool {
	if len(s) > 253 {
		return false
	}
	for l := range strings.SplitSeq(s, ".") {
		if !label.MatchString(l) {
			return false
		}
	}
	return true
}

func checkLink(l hyper.Link) error {
	if len(l.MAC) != 6 || l.MAC[0]&1 != 0 {
		return fmt.Errorf("not a unicast MAC address")
	}
	if l.MTU != 0 && (l.MTU < 576 || l.MTU > 65535) {
		return fmt.Errorf("an MTU is 576 to 65535")
	}
	for _, a := range l.Addresses {
		if !a.IsValid() {
			return fmt.Errorf("not an address with a prefix length")
		}
	}
	var families [2]bool
	for _, g := range l.Gateways {
		if !g.IsValid() || g.Zone() != "" || g.Is4In6() {
			return fmt.Errorf("not a gateway address")
		}
		f := &families[family(g)]
		if *f {
			return fmt.Errorf("two gateways of one family")
		}
		*f = true
	}
	return nil
}

func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

func checkUserData(u string) error {
	switch {
	case len(u) > maxUserData:
		return bad("user_data", "longer than %d bytes", maxUserData)
	case u != "" && !strings.HasPrefix(u, "#!") && !strings.HasPrefix(u, "#cloud-config\n") && !strings.HasPrefix(u, "#cloud-config\r\n"):
		return bad("user_data", "user data starts with #! or #cloud-config")
	case !utf8.ValidString(u):
		return bad("user_data", "user data is UTF-8 text")
	}
	return nil
}
