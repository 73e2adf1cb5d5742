package rpc

import (
	"crypto/tls"
	"errors"
	"slices"
	"strings"
)

const (
	// usersCaller is the service that makes calls for users.
	usersCaller = "gateway"
	// ownCaller is the caller of what an installation does by itself in one process. No certificate has this name.
	ownCaller = "slipway"
	// healthMethods is the beginning of the names of the methods that every service may call.
	healthMethods = "/grpc.health.v1."
)

// ErrCaller is the error of a connection by a service that may call no method of this server.
var ErrCaller = errors.New("rpc: this service may not call here")

// callers returns the services that may call some method of this server.
func (s *Server) callers() []string {
	var list []string
	for method, r := range s.rules {
		switch {
		case strings.HasPrefix(method, healthMethods):
		case r.Level == levelService:
			list = append(list, r.Callers...)
		default:
			list = append(append(list, usersCaller), r.Callers...)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// only returns a TLS configuration that refuses all services but callers during the handshake.
func (s *Server) only(c *tls.Config) *tls.Config {
	callers := s.callers()
	c = c.Clone()
	c.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 || len(state.PeerCertificates[0].DNSNames) == 0 ||
			!slices.Contains(callers, state.PeerCertificates[0].DNSNames[0]) {
			return ErrCaller
		}
		return nil
	}
	return c
}
