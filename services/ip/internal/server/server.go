// Package server answers the rpcs of the ip service.
package server

import (
	"time"

	"google.golang.org/grpc"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/services/ip/internal/store"
)

// Server is all services of ip.
type Server struct {
	ippb.UnimplementedNetworkServiceServer
	ippb.UnimplementedPoolServiceServer
	ippb.UnimplementedAddressServiceServer
	ippb.UnimplementedSettingServiceServer
	ippb.UnimplementedLedgerServiceServer

	store      *store.Store
	quarantine time.Duration
}

// New makes a server. A released address is given to nobody for the time of its quarantine.
func New(s *store.Store, quarantine time.Duration) *Server {
	return &Server{store: s, quarantine: quarantine}
}

// Register adds the services to r.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	ippb.RegisterNetworkServiceServer(r, s)
	ippb.RegisterPoolServiceServer(r, s)
	ippb.RegisterAddressServiceServer(r, s)
	ippb.RegisterSettingServiceServer(r, s)
	ippb.RegisterLedgerServiceServer(r, s)
}
