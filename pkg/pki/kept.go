package pki

import (
	"crypto/tls"
	"os"
	"sync"
	"time"
)

// kept is a certificate in files that another process renews.
type kept struct {
	crt, key string

	mu      sync.Mutex
	cert    *tls.Certificate
	written time.Time
}

// current returns the certificate in the files. If the files are missing or do not match each other, it returns the previous
// certificate, which is still valid.
func (k *kept) current() (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	info, err := os.Stat(k.crt)
	if err == nil && k.cert != nil && info.ModTime().Equal(k.written) {
		return k.cert, nil
	}
	if err == nil {
		var c tls.Certificate
		if c, err = tls.LoadX509KeyPair(k.crt, k.key); err == nil {
			k.cert, k.written = &c, info.ModTime()
			return k.cert, nil
		}
	}
	if k.cert != nil {
		return k.cert, nil
	}
	return nil, err
}
