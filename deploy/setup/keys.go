package setup

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"slipway.dev/deploy/parts"
	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pki"
)

// Keys gives each service its directory: certificate, URLs with its own passwords. What is there stays, but for what the
// settings changed.
func Keys(c Config) error {
	ca, err := pki.OpenAuthority(c.Authority)
	if err != nil {
		return fmt.Errorf("authority: %w", err)
	}
	if err := renew(ca, c, time.Now()); err != nil {
		return err
	}
	if err := databaseKeys(c); err != nil {
		return err
	}
	master, err := c.masterKey()
	if err != nil {
		return err
	}
	if err := write(c.key("auth", "master-key"), master, 0o600); err != nil {
		return err
	}
	for _, name := range composed {
		if err := c.writeStackID(c.key(name, "")); err != nil {
			return err
		}
	}
	pw, err := c.secret("postgres")
	if err != nil {
		return err
	}
	// PostgreSQL and NATS run as users of their own; other users have no access to these directories.
	if err := write(c.key("postgres", "password"), pw, 0o644); err != nil {
		return err
	}
	if err := natsKeys(c); err != nil {
		return err
	}
	return standIn(c.Templates)
}

// databaseKeys writes how each service gets into the database, and how many connections each of its processes may have.
func databaseKeys(c Config) error {
	connections, err := pg.Budget(c.PostgresConnections, parts.Shares(c.table(), c.Replicas))
	if err != nil {
		return err
	}
	for name, n := range connections {
		pw, err := c.secret("postgres-" + name)
		if err != nil {
			return err
		}
		if err := write(c.key(name, "database"), parts.WithConns(c.databaseURL(role(name), pw), n), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// key is the path of one file of a service.
func (c Config) key(service, name string) string { return filepath.Join(c.Keys, service, name) }

func (c Config) databaseURL(user, password string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(user, password), Host: c.PostgresHost, Path: c.PostgresDatabase}
	return u.String()
}

func (c Config) busURL(user, password string) string {
	var list []string
	for _, h := range c.NATSHosts {
		u := url.URL{Scheme: "nats", User: url.UserPassword(user, password), Host: h + ":4222", RawQuery: bus.OwnAccount}
		list = append(list, u.String())
	}
	return strings.Join(list, ",")
}

// renew delivers the certificates that are due.
func renew(ca *pki.Authority, c Config, now time.Time) error {
	list, err := c.certificates()
	if err != nil {
		return err
	}
	for _, x := range list {
		if x.due(ca, now) {
			if err := x.deliver(ca, c.CertificateLife); err != nil {
				return err
			}
		}
	}
	return nil
}

const standInSize = 1 << 20

// standIn makes an image of nothing under the name "tiny", so that a node that only simulates has an OS to offer. A
// directory with a description in it is left alone.
func standIn(dir string) error {
	have, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(have) > 0 {
		return err
	}
	image := bytes.Repeat([]byte{0}, standInSize)
	text, err := json.Marshal(map[string]any{
		"name": "tiny", "title": "Simulated guest", "file": "tiny.raw", "format": "raw", "sha256": fmt.Sprintf("%x", sha256.Sum256(image)),
		"min_ram_mib": 128, "min_disk_mib": 64, "os_type": "linux", "os_group": "linux", "version": "simulated",
	})
	if err != nil {
		return err
	}
	if err := write(filepath.Join(dir, "tiny.raw"), string(image), 0o644); err != nil {
		return err
	}
	return write(filepath.Join(dir, "tiny.json"), string(text), 0o644)
}
