package user

import (
	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
)

// Refusals of a deletion.
var (
	errHasHosts  = fault.New(codes.InvalidArgument, "ACCOUNT_HAS_HOSTS", "the account has hosts")
	errUncounted = fault.Unavailable.With("the hosts of the account cannot be counted now")
)
