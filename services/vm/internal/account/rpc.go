package account

import (
	"context"
	"errors"
	"strconv"

	querypb "slipway.dev/proto/query/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
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
	if err == nil && len(l.Rows) == 0 && s.late(ctx, wantedID(r.GetQuery())) {
		l, err = page(ctx, s.db, r.GetQuery(), listing.Owner(ctx))
	}
	if err != nil {
		return nil, err
	}
	return &vmpb.ListAccountsResponse{LastNotify: l.LastNotify, Size: l.Size, List: listing.Render(l.Rows, render)}, nil
}

// GetAccount reads one account.
func (s *Server) GetAccount(ctx context.Context, r *vmpb.GetAccountRequest) (*vmpb.Account, error) {
	a, err := find(ctx, s.db, r.GetId(), listing.Owner(ctx))
	if errors.Is(err, fault.NotFound) && s.late(ctx, r.GetId()) {
		a, err = find(ctx, s.db, r.GetId(), listing.Owner(ctx))
	}
	if err != nil {
		return nil, err
	}
	return render(&a), nil
}

// late reports whether an account that vm's copy lacks exists after all: the caller may have made it just now. The copy has it
// then. Only callers that see all accounts find out.
func (s *Server) late(ctx context.Context, id int32) bool {
	return id != 0 && listing.Owner(ctx) == 0 && s.dir.Find(ctx, id) == nil
}

// wantedID returns the id of the one account that a query asks for, 0 if it asks for others.
func wantedID(q *querypb.Query) int32 {
	c := q.GetWhere().GetCompare()
	if c.GetField() != "id" || c.GetOperator() != querypb.Operator_OPERATOR_EQ {
		return 0
	}
	id, err := strconv.ParseInt(c.GetValue(), 10, 32)
	if err != nil {
		return 0
	}
	return int32(id)
}

func render(a *item) *vmpb.Account {
	return &vmpb.Account{
		Id: a.ID, Email: a.Email, State: a.State, Roles: a.Roles, AuthSource: "local",
		HostCount: a.Hosts, CpuCount: a.CPUs, RamMib: a.RAM, HddMib: a.Disk,
	}
}
