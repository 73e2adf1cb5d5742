package rpc

import (
	"crypto/tls"
	"errors"
	"slices"
	"strings"
)

// usersCaller is the service that calls in the name of users.
const usersCaller = "gateway"

// ErrCaller refuses a connection of a service that has nothing to ask here.
var ErrCaller = errors.New("rpc: this service may not call here")

// callers are the services that some method of this server is for.
func (s *Server) callers() []string {
	var list []string
	for method, r := range s.rules {
		switch {
		case strings.HasPrefix(method, "/grpc.health.v1."):
		case r.Level == levelService:
			list = append(list, r.Callers...)
		default:
			list = append(append(list, usersCaller), r.Callers...)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// only makes a TLS configuration refuse who is no caller, before it can send anything.
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
