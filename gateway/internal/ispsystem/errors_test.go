package ispsystem

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	"slipway.dev/pkg/fault"

	"slipway.dev/gateway/internal/rest"
)

func TestErrors(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err    error
		number int
		http   int
		msg    string
	}{
		"unauthenticated":   {fault.Unauthenticated, 1000, 401, "authentication is required"},
		"denied":            {fault.Denied, 3001, 403, "not allowed"},
		"not found":         {fault.NotFound, 3080, 404, "no such object"},
		"no handler":        {rest.ErrNoHandler, 1106, 404, "no such path"},
		"no method":         {rest.ErrMethod, 1106, 405, "this path does not accept this method"},
		"password":          {fault.New(codes.Unauthenticated, "INVALID_PASSWORD", "Invalid password"), 22013, 400, "Invalid password"},
		"password, invalid": {fault.New(codes.InvalidArgument, "INVALID_PASSWORD", "Invalid password"), 22013, 400, "Invalid password"},
		"invalid":           {fault.Invalid, 90001, 400, "the request is not valid"},
		"conflict":          {fault.Conflict, 90002, 400, "the object exists already"},
		"state":             {fault.New(codes.FailedPrecondition, "HOST_DELETING", "it goes"), 90003, 409, "it goes"},
		"in use":            {fault.New(codes.FailedPrecondition, "IN_USE", "the pool is in use"), 90003, 400, "the pool is in use"},
		"wish":              {fault.New(codes.FailedPrecondition, "WISH_TAKEN", "192.0.2.4 is taken"), 90003, 400, "192.0.2.4 is taken"},
		"last admin":        {fault.New(codes.FailedPrecondition, "LAST_ADMIN", "the last one"), 90003, 400, "the last one"},
		"main address":      {fault.New(codes.FailedPrecondition, "MAIN_ADDRESS", "use force"), 90003, 409, "use force"},
		"aborted":           {fault.New(codes.Aborted, "LOST_RACE", "again"), 90003, 409, "again"},
		"address":           {fault.New(codes.FailedPrecondition, "NO_FREE_ADDRESS", "dry"), 90004, 400, "dry"},
		"capacity":          {fault.New(codes.ResourceExhausted, "NO_CAPACITY", "full"), 90005, 400, "full"},
		"rate":              {fault.New(codes.ResourceExhausted, "TOO_MANY_ATTEMPTS", "slow"), 90006, 429, "slow"},
		"unavailable":       {fault.Unavailable, 90007, 503, fault.Unavailable.Msg},
		"connection lost":   {grpcstatus.Error(codes.Unavailable, "canary 10.0.0.1"), 90007, 503, fault.Unavailable.Msg},
		"deadline":          {context.DeadlineExceeded, 90008, 504, "the request took too long"},
		"key":               {fault.New(codes.Unauthenticated, "INVALID_KEY", "no such key"), 3001, 403, "no such key"},
		"late service":      {grpcstatus.Error(codes.DeadlineExceeded, "canary"), 90008, 504, "the request was interrupted"},
		"bug":               {errors.New("canary"), 90000, 500, "internal error"},
		"internal":          {fault.Internal.With("canary"), 90000, 500, "internal error"},
		"unknown class":     {fault.New(codes.DataLoss, "LOST", "canary"), 90000, 500, "internal error"},
		"status":            {grpcstatus.Error(codes.Internal, "canary"), 90000, 500, "internal error"},
		"over the wire":     {fault.Status(fault.NotFound.With("no host 5").On("id")).Err(), 3080, 404, "id: no host 5"},
		"some text":         {grpcstatus.Error(codes.InvalidArgument, "canary"), 90001, 400, "the request is not valid"},
	} {
		w := httptest.NewRecorder()
		WriteError(w, httptest.NewRequest(http.MethodGet, "/", nil), tt.err)
		var got errorReply
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Errorf("%s: %s %v", name, w.Body, err)
		}
		if got.Error.Code != tt.number || w.Code != tt.http || got.Error.Msg != tt.msg || got.Error.Value["reason"] == "" {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

// TestNumbers: a number stands for one thing to do.
func TestNumbers(t *testing.T) {
	t.Parallel()
	status := map[int]int{}
	for _, k := range Errors {
		if k.Number == 1106 || k.Number == 90003 { // for a path and its method; for conflicts of hosts and of other objects
			continue
		}
		if was, ok := status[k.Number]; ok && was != k.HTTP {
			t.Errorf("%d is HTTP %d and %d", k.Number, was, k.HTTP)
		}
		status[k.Number] = k.HTTP
	}
	if last := Errors[len(Errors)-1]; last.Code != codes.Internal || last.Reason != "" {
		t.Errorf("the last line must be the internal error, not %+v", last)
	}
}
