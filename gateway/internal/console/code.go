package console

import (
	"errors"
	"io"

	"github.com/coder/websocket"
	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
)

// Codes with which a WebSocket is closed, beside those of the standard: 1000 when the viewer has left, 1001 when the gateway
// stops, 1011 for an error of the server, 1013 when a later attempt may succeed.
const (
	CodeTicket  websocket.StatusCode = 4001 // the ticket is unknown, used, too old or of another session
	CodeRights  websocket.StatusCode = 4003 // the session has ended, or the account may not have consoles any more
	CodeGone    websocket.StatusCode = 4004 // the account does not have the host any more
	CodeStopped websocket.StatusCode = 4005 // the host does not run
	CodeMissing websocket.StatusCode = 4006 // the host has no such console until its next start
	CodeIdle    websocket.StatusCode = 4008 // nothing was typed for long
)

// maxReason is the most that the standard allows a reason to have.
const maxReason = 120

// ending returns how a WebSocket is closed for an error. The words are those of a fault, never of its cause.
func ending(err error) (websocket.StatusCode, string) {
	var closed websocket.CloseError
	if errors.As(err, &closed) || errors.Is(err, io.EOF) {
		return websocket.StatusNormalClosure, ""
	}
	f, ok := fault.From(err)
	if !ok {
		return websocket.StatusInternalError, "internal error"
	}
	code := codeOf(f)
	if code == websocket.StatusInternalError {
		return code, "internal error"
	}
	return code, f.Msg[:min(len(f.Msg), maxReason)]
}

func codeOf(f *fault.Fault) websocket.StatusCode {
	switch f.Reason {
	case "CONSOLE_TICKET":
		return CodeTicket
	case "MACHINE_NOT_RUNNING":
		return CodeStopped
	case "CONSOLE_MISSING":
		return CodeMissing
	}
	switch f.Code { //nolint:exhaustive // every other one is an error of the server
	case codes.PermissionDenied, codes.Unauthenticated:
		return CodeRights
	case codes.NotFound:
		return CodeGone
	case codes.Unavailable, codes.ResourceExhausted, codes.DeadlineExceeded, codes.Canceled, codes.Aborted:
		return websocket.StatusTryAgainLater
	default:
		return websocket.StatusInternalError
	}
}
