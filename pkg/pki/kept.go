package pki

import (
	"crypto/tls"
	"os"
	"sync"
	"time"
)

// kept is a certificate in files that somebody else renews.
type kept struct {
	crt, key string

	mu      sync.Mutex
	cert    *tls.Certificate
	written time.Time
}

// current returns what the files hold. While they do not fit each other, or are gone, it is what they held before: that
// is valid for as long as it ever was.
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
