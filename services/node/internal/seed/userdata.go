package seed

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"mime/multipart"
	"net/textproto"
	"strings"

	"slipway.dev/services/node/internal/hyper"
)

const header = "#cloud-config\n"

type cloudConfig struct {
	Hostname       string    `json:"hostname"`
	FQDN           string    `json:"fqdn,omitempty"`
	ManageEtcHosts string    `json:"manage_etc_hosts"` // localhost: own names only, the customer's lines stay
	PreserveHost   bool      `json:"preserve_hostname"`
	DisableRoot    bool      `json:"disable_root"`
	SSHPasswords   bool      `json:"ssh_pwauth"`
	Users          []user    `json:"users"`
	Passwords      *chpasswd `json:"chpasswd,omitempty"`
	// Early are commands of every boot. cloud-init sets passwords at the first boot of an instance only: a later password is
	// set by a command, once.
	Early [][]string `json:"bootcmd,omitempty"`
	// Updates makes cloud-init configure the network at every boot, because addresses change. A new instance id would do that,
	// too, but would make everything else run again.
	Updates updates `json:"updates"`
}

type updates struct {
	Network struct {
		When []string `json:"when"`
	} `json:"network"`
}

type user struct {
	Name         string   `json:"name"`
	LockPassword bool     `json:"lock_passwd"`
	SSHKeys      []string `json:"ssh_authorized_keys,omitempty"`
}

type chpasswd struct {
	Expire bool       `json:"expire"`
	Users  []password `json:"users"`
}

type password struct {
	Name     string `json:"name"`
	Password string `json:"password"`
	Type     string `json:"type"`
}

// userData returns a #cloud-config document with a JSON body. If the customer has a document, userData returns a MIME archive of
// both: the customer's is merged into ours, lists are appended, our scalars are kept.
func userData(s hyper.Seed) ([]byte, error) {
	c := cloudConfig{
		Hostname: s.Hostname, FQDN: s.FQDN, ManageEtcHosts: "localhost", SSHPasswords: true,
		Users: []user{{Name: "root", LockPassword: s.PasswordHash == "", SSHKeys: s.SSHKeys}},
	}
	c.Updates.Network.When = []string{"boot"}
	if s.PasswordHash != "" {
		c.Passwords = &chpasswd{Users: []password{{Name: "root", Password: s.PasswordHash, Type: "hash"}}}
	}
	if s.PasswordSerial != 0 {
		c.Early = [][]string{{
			"cloud-init-per", "once", fmt.Sprintf("slipway-password-%d", s.PasswordSerial),
			"sh", "-c", `printf 'root:%s\n' "$1" | chpasswd -e`, "sh", s.PasswordHash,
		}}
	}
	body, err := encode(c)
	if err != nil {
		return nil, err
	}
	ours := append([]byte(header), body...)
	if s.UserData == "" {
		return ours, nil
	}

	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	if err := w.SetBoundary("slipway-part"); err != nil { // base64 cannot contain it, and the bytes stay the same
		return nil, err
	}
	b.WriteString("Content-Type: multipart/mixed; boundary=\"slipway-part\"\nMIME-Version: 1.0\n\n")
	if err := part(w, "text/cloud-config", ours, false); err != nil {
		return nil, err
	}
	kind := "text/cloud-config"
	if strings.HasPrefix(s.UserData, "#!") {
		kind = "text/x-shellscript"
	}
	if err := part(w, kind, []byte(s.UserData), true); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func part(w *multipart.Writer, kind string, body []byte, merge bool) error {
	h := textproto.MIMEHeader{}
	h.Set("Content-Type", kind+`; charset="utf-8"`)
	h.Set("Content-Transfer-Encoding", "base64")
	if merge {
		h.Set("X-Merge-Type", "dict(no_replace,recurse_list)+list(append)+str()")
	}
	p, err := w.CreatePart(h)
	if err != nil {
		return err
	}
	text := base64.StdEncoding.EncodeToString(body)
	for len(text) > 76 {
		if _, err := p.Write([]byte(text[:76] + "\r\n")); err != nil {
			return err
		}
		text = text[76:]
	}
	_, err = p.Write([]byte(text))
	return err
}
