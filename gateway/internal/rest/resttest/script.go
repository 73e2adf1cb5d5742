package resttest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

// script answers the calls of each exchange in turn. It serves as the connection to every service.
type script struct {
	tokens map[string]int32

	mu      sync.Mutex
	pending []expected
	wrong   []error
}

// expected is a call with its answer.
type expected struct {
	method, request string
	answer          string
	fault           *fault.Fault
}

// expect reads the calls of an exchange.
func (s *script) expect(lines []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending, s.wrong = nil, nil
	for _, l := range lines {
		answer, indented := strings.CutPrefix(l, "  ")
		switch {
		case !indented && l != "":
			method, request, _ := strings.Cut(l, " ")
			s.pending = append(s.pending, expected{method: "/" + method, request: request})
		case len(s.pending) == 0:
			return fmt.Errorf("an answer without a call: %s", l)
		default:
			last := &s.pending[len(s.pending)-1]
			if text, refused := strings.CutPrefix(answer, "! "); refused {
				f, err := parseFault(text)
				if err != nil {
					return err
				}
				last.fault = f
			} else {
				last.answer += answer + "\n"
			}
		}
	}
	return nil
}

// done returns the unexpected calls and the missing ones.
func (s *script) done() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.pending {
		s.wrong = append(s.wrong, fmt.Errorf("%s was not called", e.method))
	}
	return errors.Join(s.wrong...)
}

// Invoke implements grpc.ClientConnInterface.
func (s *script) Invoke(_ context.Context, method string, in, out any, _ ...grpc.CallOption) error {
	if r, ok := in.(*authpb.IntrospectRequest); ok {
		return s.introspect(r.GetToken(), out.(*authpb.IntrospectResponse))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) == 0 || s.pending[0].method != method {
		err := fmt.Errorf("unexpected call: = %s %s", method[1:], prototext.MarshalOptions{}.Format(in.(proto.Message)))
		s.wrong = append(s.wrong, err)
		return err
	}
	e := s.pending[0]
	s.pending = s.pending[1:]
	want := in.(proto.Message).ProtoReflect().New().Interface()
	if err := prototext.Unmarshal([]byte(e.request), want); err != nil {
		s.wrong = append(s.wrong, fmt.Errorf("%s: %w", method, err))
	} else if !proto.Equal(want, in.(proto.Message)) {
		s.wrong = append(s.wrong, fmt.Errorf("%s was called with %v, want %v", method, in, want))
	}
	if e.fault != nil {
		return fault.Status(e.fault).Err()
	}
	if err := prototext.Unmarshal([]byte(e.answer), out.(proto.Message)); err != nil {
		s.wrong = append(s.wrong, fmt.Errorf("the answer of %s: %w", method, err))
	}
	return nil
}

// NewStream implements grpc.ClientConnInterface.
func (s *script) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errors.New("a script has no streams")
}

func (s *script) introspect(token string, out *authpb.IntrospectResponse) error {
	account, ok := s.tokens[token]
	if !ok {
		return fault.Status(identity.ErrInvalid).Err()
	}
	out.Identity, out.AccountId, out.SessionId = token, account, 10*account
	return nil
}

// parseFault reads "Code REASON [field=name] [after=10s] message".
func parseFault(text string) (*fault.Fault, error) {
	words := strings.SplitN(text, " ", 3)
	if len(words) < 3 {
		return nil, fmt.Errorf("a fault is Code REASON message, not %q", text)
	}
	f := &fault.Fault{Reason: words[1], Msg: words[2]}
	for c := codes.OK; c <= codes.Unauthenticated; c++ {
		if c.String() == words[0] {
			f.Code = c
		}
	}
	if rest, ok := strings.CutPrefix(f.Msg, "field="); ok {
		f.Field, f.Msg, _ = strings.Cut(rest, " ")
	}
	if rest, ok := strings.CutPrefix(f.Msg, "after="); ok {
		var wait string
		var err error
		wait, f.Msg, _ = strings.Cut(rest, " ")
		if f.RetryAfter, err = time.ParseDuration(wait); err != nil {
			return nil, err
		}
	}
	if f.Code == codes.OK {
		return nil, fmt.Errorf("no class of faults is called %s", strconv.Quote(words[0]))
	}
	return f, nil
}
