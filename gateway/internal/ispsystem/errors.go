package ispsystem

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"slipway.dev/pkg/fault"

	"slipway.dev/gateway/internal/edge"
)

// Kind is one line of the table of errors. A fault maps to the first line with its Reason, else to the line with its
// Code and no Reason, else to the last line.
type Kind struct {
	Reason  string
	Code    codes.Code
	Number  int
	HTTP    int
	Meaning string
}

// Errors is the table. 1000, 1106, 3001, 3080 and 22013 are VMmanager's numbers; those from 90000 are our own.
//
// A wrong password is 400: Terraform's provider shows only the bodies of 400 and 500, and clients that log in again
// after a 401 would never stop. The same holds for a one-time key, which is 3001 as in VMmanager, hence 403. A
// conflict of networks, pools, addresses or accounts is 400 for the provider's sake too; one of a host passes by itself
// and is 409. A missing TOTP code is 401, because another login helps, but never 1000, on which clients repeat the same
// login.
var Errors = []Kind{
	{"UNAUTHENTICATED", codes.Unauthenticated, 1000, http.StatusUnauthorized, "no credential, or one that is unknown or expired: log in again"},
	{"NO_METHOD", codes.NotFound, 1106, http.StatusMethodNotAllowed, "the path does not accept this method"},
	{"NO_HANDLER", codes.NotFound, 1106, http.StatusNotFound, "no such path"},
	{"INVALID_PASSWORD", codes.Unauthenticated, 22013, http.StatusBadRequest, "wrong e-mail or password"},
	{"TOTP_REQUIRED", codes.Unauthenticated, 90012, http.StatusUnauthorized, "the password is right and the account has a second factor: log in again with totp"},
	{"INVALID_KEY", codes.Unauthenticated, 3001, http.StatusForbidden, "the one-time key is unknown, used or expired, or its account may not log in"},
	{"BODY_TOO_LARGE", codes.InvalidArgument, 90010, http.StatusRequestEntityTooLarge, "the body is too large"},
	{"URL_TOO_LONG", codes.InvalidArgument, 90011, http.StatusRequestURITooLong, "the URL is too long"},
	{"QUERY_TOO_COSTLY", codes.InvalidArgument, 90030, http.StatusBadRequest, "the filter or order of a list takes too long: narrow it, or page by cursor"},
	{"NO_FREE_ADDRESS", codes.ResourceExhausted, 90004, http.StatusBadRequest, "the pools have no free address left"},
	{"NO_CAPACITY", codes.ResourceExhausted, 90005, http.StatusBadRequest, "no node has enough room for the host"},
	{"STORAGE_FULL", codes.ResourceExhausted, 90005, http.StatusBadRequest, "no node has enough room for the disk"},
	{"IDEMPOTENCY_KEY_REUSED", codes.InvalidArgument, 90020, http.StatusBadRequest, "the Idempotency-Key was used for another request within a day"},
	{"IDEMPOTENCY_UNDER_WAY", codes.Aborted, 90021, http.StatusConflict, "a request with this Idempotency-Key is still being processed: repeat it later"},
	{"IDEMPOTENCY_NOT_HERE", codes.InvalidArgument, 90022, http.StatusBadRequest, "the answer of this call holds a secret and is therefore not kept: send no Idempotency-Key"},
	{"QUOTA_EXCEEDED", codes.ResourceExhausted, 90023, http.StatusBadRequest, "a limit of the account is reached; value.field says which"},
	{"HOST_DELETING", codes.FailedPrecondition, 90003, http.StatusConflict, "the host is being deleted"},
	{"HOST_PROTECTED", codes.FailedPrecondition, 90003, http.StatusBadRequest, "the host is protected: set is_protected to false first"},
	{"MAIN_ADDRESS", codes.FailedPrecondition, 90003, http.StatusConflict, "removing the main address of a host requires force"},
	{"ADDRESS_CHANGING", codes.FailedPrecondition, 90003, http.StatusConflict, "the address is being added or removed: repeat the request later"},
	{"EVENT_REFUSED", codes.FailedPrecondition, 90003, http.StatusConflict, "the parked event was refused again"},
	{"", codes.Unauthenticated, 1000, http.StatusUnauthorized, "the credential is not sufficient: log in again"},
	{"", codes.PermissionDenied, 3001, http.StatusForbidden, "the account may not do this"},
	{"", codes.NotFound, 3080, http.StatusNotFound, "no such object, or none that the account may see"},
	{"", codes.InvalidArgument, 90001, http.StatusBadRequest, "the request is not valid; value.field names the field at fault, if it is a single one"},
	{"", codes.OutOfRange, 90001, http.StatusBadRequest, "a value is out of range"},
	{"", codes.AlreadyExists, 90002, http.StatusBadRequest, "the object already exists"},
	{"", codes.FailedPrecondition, 90003, http.StatusBadRequest, "the state of the object does not allow this; value.reason says why"},
	{"", codes.Aborted, 90003, http.StatusConflict, "another change came first; value.reason says why"},
	{"", codes.ResourceExhausted, 90006, http.StatusTooManyRequests, "too many requests: wait as long as Retry-After says"},
	{"", codes.Unavailable, 90007, http.StatusServiceUnavailable, "temporarily unavailable: repeat the request"},
	{"", codes.DeadlineExceeded, 90008, http.StatusGatewayTimeout, "the request took too long"},
	{"", codes.Canceled, 90009, statusClientGone, "the client went away"},
	{"", codes.Internal, 90000, http.StatusInternalServerError, "internal error; value.request finds it in the log"},
}

// statusClientGone is only logged: the client no longer reads the answer.
const statusClientGone = 499

const contentType = "application/json"

func kindOf(f *fault.Fault) Kind {
	last := Errors[len(Errors)-1]
	byCode := last
	for _, k := range Errors {
		if k.Reason != "" && k.Reason == f.Reason {
			return k
		}
		if k.Reason == "" && k.Code == f.Code {
			byCode = k
		}
	}
	return byCode
}

type errorReply struct {
	Error errorBody `json:"error"`
}

type errorBody struct {
	Code  int               `json:"code"`
	Msg   string            `json:"msg"`
	Value map[string]string `json:"value"`
}

// WriteError writes err as the answer. err may be any error.
func WriteError(w http.ResponseWriter, r *http.Request, err error) {
	q := edge.Of(r.Context())
	f := faultOf(err)
	k := kindOf(f)
	value := map[string]string{"reason": f.Reason}
	if f.Field != "" {
		value["field"] = f.Field
	}
	msg := text(f)
	if k.HTTP >= http.StatusInternalServerError {
		q.Err = err
		value["request"] = q.ID
	}
	if k.HTTP == http.StatusInternalServerError {
		msg, value["reason"] = fault.Internal.Msg, fault.Internal.Reason
	}
	q.Reason = value["reason"]
	h := w.Header()
	h.Del("Content-Length")
	h.Set("Content-Type", contentType)
	switch k.HTTP {
	case http.StatusUnauthorized:
		h.Set("Www-Authenticate", "Bearer")
	case http.StatusTooManyRequests:
		h.Set("Retry-After", seconds(f.RetryAfter, 10))
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", seconds(f.RetryAfter, 1))
	}
	body, err := json.Marshal(errorReply{errorBody{k.Number, msg, value}})
	if err != nil {
		body = []byte(`{"error":{"code":90000,"msg":"internal error","value":{}}}`)
	}
	w.WriteHeader(k.HTTP)
	_, _ = w.Write(body) // an error means that the client went away
}

// text returns the message as this dialect spells it: with the field in front, unless the message is a complete
// sentence.
func text(f *fault.Fault) string {
	if f.Code == codes.AlreadyExists || strings.HasPrefix(f.Reason, "IDEMPOTENCY_") {
		return f.Msg
	}
	return f.Text()
}

// readError reads what WriteError wrote.
func readError(body []byte) (reason string, ok bool) {
	var e errorReply
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil || d.More() {
		return "", false
	}
	reason = e.Error.Value["reason"]
	return reason, e.Error.Code != 0 && e.Error.Msg != "" && reason != ""
}

// seconds returns a wait for the header Retry-After, rounded up.
func seconds(wait time.Duration, otherwise int) string {
	if wait > 0 {
		otherwise = int((wait + time.Second - 1) / time.Second)
	}
	return strconv.Itoa(otherwise)
}

// faultOf returns the fault of an error, from a service or from the gateway.
func faultOf(err error) *fault.Fault {
	if f, ok := fault.From(err); ok {
		return f
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &fault.Fault{Code: codes.DeadlineExceeded, Reason: "DEADLINE_EXCEEDED", Msg: "the request took too long"}
	}
	if status.Code(err) == codes.InvalidArgument {
		return fault.Invalid
	}
	return fault.Internal.Wrap(err)
}
