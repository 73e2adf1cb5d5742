package account

import (
	"context"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/listing"
)

// Server answers vm.v3.AccountService and vm.v3.LimitService.
type Server struct {
	vmpb.UnimplementedAccountServiceServer
	vmpb.UnimplementedLimitServiceServer
	db  *unit.DB
	dir *Directory
}

// NewServer returns a Server.
func NewServer(db *unit.DB, dir *Directory) *Server { return &Server{db: db, dir: dir} }

// ListAccounts lists accounts with the sum of their hosts.
func (s *Server) ListAccounts(ctx context.Context, r *vmpb.ListAccountsRequest) (*vmpb.ListAccountsResponse, error) {
	l, err := page(ctx, s.db, r.GetQuery(), listing.Owner(ctx))
	if err != nil {
		return nil, err
	}
	return &vmpb.ListAccountsResponse{LastNotify: l.LastNotify, Size: l.Size, List: listing.Render(l.Rows, render)}, nil
}

// GetAccount reads one account.
func (s *Server) GetAccount(ctx context.Context, r *vmpb.GetAccountRequest) (*vmpb.Account, error) {
	a, err := find(ctx, s.db, r.GetId(), listing.Owner(ctx))
	if err != nil {
		return nil, err
	}
	return render(&a), nil
}

func render(a *item) *vmpb.Account {
	return &vmpb.Account{
		Id: a.ID, Email: a.Email, State: a.State, Roles: a.Roles, AuthSource: "local",
		HostCount: a.Hosts, CpuCount: a.CPUs, RamMib: a.RAM, HddMib: a.Disk,
	}
}
