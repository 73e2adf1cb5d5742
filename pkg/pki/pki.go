// Package pki is the certificate authority of one installation: services know each other by the names that it signs.
package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"slipway.dev/pkg/durable"
)

// File names in a directory of certificates.
const (
	caCert = "ca.crt"
	caKey  = "ca.key"
)

// Authority signs certificates.
type Authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// NewAuthority makes an authority that is valid for ten years.
func NewAuthority(name string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotAfter:              time.Now().AddDate(10, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	cert, err := sign(template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &Authority{cert, key}, nil
}

// Issue signs a certificate for the service with this name, as a server and as a client, valid for life. uris say which of
// several processes of the service it is for; see NodeURI.
func (a *Authority) Issue(service string, life time.Duration, uris ...*url.URL) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	cert, err := sign(&x509.Certificate{
		Subject:     pkix.Name{CommonName: service},
		DNSNames:    []string{service},
		URIs:        uris,
		NotAfter:    time.Now().Add(life),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, key.Public(), a.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}, nil
}

// Config returns the TLS settings of a service with this certificate, for both directions: TLS 1.3, and only peers with a
// certificate of the authority.
func (a *Authority) Config(cert tls.Certificate) *tls.Config {
	return config(a.cert, func() (*tls.Certificate, error) { return &cert, nil })
}

// config returns TLS settings that use the current certificate at each handshake.
func config(ca *x509.Certificate, current func() (*tls.Certificate, error)) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	return &tls.Config{
		GetCertificate:       func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return current() },
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return current() },

		RootCAs:    pool,
		ClientCAs:  pool,
		ClientAuth: tls.RequireAndVerifyClientCert,
		MinVersion: tls.VersionTLS13,
	}
}

// Write puts the authority and one certificate for each service into dir: ca.crt, ca.key, <service>.crt, <service>.key.
// Write keeps an existing authority and replaces the certificates of the services.
func Write(dir string, life time.Duration, services ...string) error {
	a, err := OpenAuthority(dir)
	if err != nil {
		return err
	}
	for _, s := range services {
		if err := a.Deliver(dir, s, life); err != nil {
			return err
		}
	}
	return nil
}

// OpenAuthority returns the authority of dir, and makes it at the first time. It makes no new one while a certificate is left of
// the old one, because the services' certificates depend on that.
func OpenAuthority(dir string) (*Authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	a, err := loadAuthority(dir)
	if _, statErr := os.Stat(filepath.Join(dir, caCert)); errors.Is(statErr, os.ErrNotExist) {
		if a, err = NewAuthority("slipway"); err == nil {
			err = save(dir, caCert, caKey, tls.Certificate{Certificate: [][]byte{a.cert.Raw}, PrivateKey: a.key})
		}
	}
	return a, err
}

// Deliver puts a new certificate of a service into dir, and the authority's own beside it. A running service uses the new
// certificate for its next connections.
func (a *Authority) Deliver(dir, service string, life time.Duration, uris ...*url.URL) error {
	cert, err := a.Issue(service, life, uris...)
	if err != nil {
		return err
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
	if have, err := os.ReadFile(filepath.Join(dir, caCert)); err != nil || !bytes.Equal(have, ca) {
		if err := durable.Replace(filepath.Join(dir, caCert), ca, 0o644); err != nil {
			return err
		}
	}
	return save(dir, service+".crt", service+".key", cert)
}

// Due reports whether the certificate or key of a service in dir is missing or damaged, was signed by another authority, has
// other URIs than uris, or has less than half of its life left at the time now.
func (a *Authority) Due(dir, service string, now time.Time, uris ...*url.URL) bool {
	cert, err := readCert(filepath.Join(dir, service+".crt"))
	if err != nil || cert.CheckSignatureFrom(a.cert) != nil {
		return true
	}
	if !slices.EqualFunc(cert.URIs, uris, func(a, b *url.URL) bool { return a.String() == b.String() }) {
		return true
	}
	if _, err := tls.LoadX509KeyPair(filepath.Join(dir, service+".crt"), filepath.Join(dir, service+".key")); err != nil {
		return true
	}
	return cert.NotAfter.Sub(now) < cert.NotAfter.Sub(cert.NotBefore)/2
}

// Load reads the TLS settings of a service from a directory that Write made; ca.key may be missing. A certificate that is
// replaced in the directory is used from the next connection on.
func Load(dir, service string) (*tls.Config, error) {
	k := &kept{crt: filepath.Join(dir, service+".crt"), key: filepath.Join(dir, service+".key")}
	if _, err := k.current(); err != nil {
		return nil, fmt.Errorf("certificate of %s: %w", service, err)
	}
	ca, err := readCert(filepath.Join(dir, caCert))
	if err != nil {
		return nil, err
	}
	return config(ca, k.current), nil
}

func loadAuthority(dir string) (*Authority, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, caCert), filepath.Join(dir, caKey))
	if err != nil {
		return nil, fmt.Errorf("the certificate authority in %s (%s, %s) cannot be read: bring both files back from a backup, "+
			"or remove both for a new authority, which needs new certificates for all services: %w", dir, caCert, caKey, err)
	}
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, err
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s is not a signing key", caKey)
	}
	return &Authority{cert, key}, nil
}

func readCert(path string) (*x509.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s holds no certificate", filepath.Base(path))
	}
	return x509.ParseCertificate(block.Bytes)
}

// save writes a key and its certificate. Between the two writes a reader may find files that do not match.
func save(dir, certName, keyName string, c tls.Certificate) error {
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	if err := durable.Replace(filepath.Join(dir, keyName), text, 0o600); err != nil {
		return err
	}
	text = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})
	return durable.Replace(filepath.Join(dir, certName), text, 0o644)
}

func sign(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-time.Minute)
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(raw)
}
