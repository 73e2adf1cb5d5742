package rpc

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	accesspb "slipway.dev/proto/access/v1"

	"slipway.dev/pkg/idem"
	"slipway.dev/pkg/identity"
)

// IdemKey is the metadata key of the Idempotency-Key that a client sent.
const IdemKey = "slipway-idempotency-key"

// Keep makes methods that are declared idempotent answer a repeat with the first answer. Their handlers must call idem.Keep.
func (s *Server) Keep(k *idem.Keeper) { s.keeper = k }

// idem calls h, or returns the kept answer if a call with the same key was carried out before.
func (s *Server) idem(ctx context.Context, method string, req any, h grpc.UnaryHandler) (any, error) {
	key := first(ctx, IdemKey)
	if key == "" {
		return h(ctx, req)
	}
	switch s.rules[method].Repeat {
	case accesspb.Repeat_REPEAT_REFUSED:
		return nil, idem.ErrSecret
	case accesspb.Repeat_REPEAT_ANSWERED:
	default:
		return h(ctx, req)
	}
	who, _ := identity.From(ctx)
	request, ok := req.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("rpc: a request of %s is a %T", method, req)
	}
	return s.keeper.Do(ctx, idem.Call{Account: who.AccountID, Key: key, Method: method, Request: request},
		func(ctx context.Context) (proto.Message, error) {
			resp, err := h(ctx, req)
			if err != nil {
				return nil, err
			}
			answer, ok := resp.(proto.Message)
			if !ok {
				return nil, errors.New("rpc: an answer that is no message")
			}
			return answer, nil
		})
}

// unkept lists methods declared idempotent that have no keeper or allow anonymous callers.
func (s *Server) unkept() (problems []error) {
	for method, r := range s.rules {
		if r.Repeat != accesspb.Repeat_REPEAT_ANSWERED {
			continue
		}
		if s.keeper == nil {
			problems = append(problems, fmt.Errorf("rpc: there is no keeper for the answers of %s", method))
		}
		if r.Level != accesspb.Level_LEVEL_USER && r.Level != accesspb.Level_LEVEL_ADMIN {
			problems = append(problems, fmt.Errorf("rpc: %s keeps answers, and anybody may call it", method))
		}
	}
	return problems
}
