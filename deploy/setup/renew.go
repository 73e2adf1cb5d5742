package setup

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"slipway.dev/pkg/pki"
)

// Renew looks after the certificates until ctx ends: each is replaced when half of its life is over. Services take the new
// ones for their next connections.
func Renew(ctx context.Context, c Config, log *slog.Logger) error {
	ca, err := pki.OpenAuthority(c.Authority)
	if err != nil {
		return fmt.Errorf("authority: %w", err)
	}
	tick := time.NewTicker(max(c.CertificateLife/20, time.Second))
	defer tick.Stop()
	for {
		if err := renew(ca, c, time.Now()); err != nil {
			log.Error("certificates are not renewed", "err", err) // the services have half a life left
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Fresh returns an error when a certificate was not renewed in time.
func Fresh(c Config) error {
	ca, err := pki.OpenAuthority(c.Authority)
	if err != nil {
		return err
	}
	late := time.Now().Add(-c.CertificateLife / 5)
	list, err := c.certificates()
	if err != nil {
		return err
	}
	for _, x := range list {
		if x.due(ca, late) {
			return fmt.Errorf("the certificate in %s was not renewed", x.dir)
		}
	}
	return nil
}
