package check

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// gateways asks each gateway whether it is ready, and what time it is.
func gateways(ctx context.Context, c Config, r *Report) error {
	list := c.Gateways
	if len(list) == 0 && c.API != nil {
		list = []string{c.API.URL}
	}
	if len(list) < 2 {
		r.miss("services", "%d gateway is named: run two, and name each", len(list))
	}
	var problems error
	for _, base := range list {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(base, "/")+"/readyz", nil)
		if err != nil {
			problems = errors.Join(problems, err)
			continue
		}
		before := time.Now()
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			r.miss("services", "the gateway %s does not answer: %v", base, err)
			continue
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			r.miss("services", "the gateway %s is not ready (%d)", base, resp.StatusCode)
		}
		if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil { // whole seconds
			compareClocks(r, "the gateway "+base, at.Add(time.Second/2), before, time.Now())
		}
		problems = errors.Join(problems, served(ctx, base, r))
	}
	return problems
}

// served looks at the certificate that a server on the web shows.
func served(ctx context.Context, base string, r *Report) error {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "https" {
		return err
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	conn, err := (&tls.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return fmt.Errorf("certificate of %s: %w", base, err)
	}
	defer conn.Close()
	for _, cert := range conn.(*tls.Conn).ConnectionState().PeerCertificates {
		age(r, base, cert)
	}
	return nil
}

// certificates looks at the certificates in the given directories.
func certificates(_ context.Context, c Config, r *Report) error {
	if len(c.Certs) == 0 {
		return errors.New("no directory is given")
	}
	found := 0
	for _, dir := range c.Certs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".crt" {
				return err
			}
			text, err := os.ReadFile(path) // #nosec G304,G122 -- the operator names the directory
			if err != nil {
				return err
			}
			for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
				cert, err := x509.ParseCertificate(block.Bytes)
				if err != nil {
					return fmt.Errorf("%s: %w", path, err)
				}
				found++
				age(r, path, cert)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if found == 0 {
		return errors.New("there are none in the directories")
	}
	r.fact("%d certificates were looked at", found)
	return nil
}

// age reports a certificate of whose life less than a quarter is left. They are renewed when half of it is over.
func age(r *Report, where string, cert *x509.Certificate) {
	left, life := time.Until(cert.NotAfter), cert.NotAfter.Sub(cert.NotBefore)
	switch {
	case left <= 0:
		r.miss("certificates", "%s of %s ended at %s", where, cert.Subject.CommonName, cert.NotAfter.UTC().Format(time.DateTime))
	case left < life/4:
		r.miss("certificates", "%s of %s ends in %v", where, cert.Subject.CommonName, left.Round(time.Minute))
	}
}

// leastRoom is the part of a file system that must be free.
const leastRoom = 0.1

// disks looks at the room of the file systems of this machine.
func disks(_ context.Context, c Config, r *Report) error {
	if len(c.Dirs) == 0 {
		return errors.New("no directory is given")
	}
	for _, dir := range c.Dirs {
		var st syscall.Statfs_t
		if err := syscall.Statfs(dir, &st); err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
		room(r, dir, float64(st.Bavail), float64(st.Blocks))
	}
	return nil
}

func room(r *Report, where string, free, all float64) {
	if all > 0 && free < all*leastRoom {
		r.miss("disks", "%.0f %% of %s is free", 100*free/all, where)
		return
	}
	r.fact("%s has room", where)
}
