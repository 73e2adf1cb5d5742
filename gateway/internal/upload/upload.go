// Package upload takes the files that clients send with a request, and carries them to vm while they come: what is held of a file
// is one piece, whatever its size.
package upload

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	oppb "slipway.dev/proto/op/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
)

const (
	piece = 256 << 10
	// field is the part of a multipart/form-data body that holds the file.
	field = "file"
	// maxParts is how many parts may come before it.
	maxParts = 64
)

// Idle is how long an upload may stand still, whoever is the reason.
const Idle = time.Minute

var (
	errBroken = fault.New(codes.FailedPrecondition, "UPLOAD_FAILED", "the upload broke off")
	errIdle   = fault.New(codes.DeadlineExceeded, "UPLOAD_FAILED", "the upload stood still for too long")
)

// Handler serves the uploads of ISO images.
type Handler struct {
	vm   vmpb.UpkeepServiceClient
	fail func(http.ResponseWriter, *http.Request, error)
	idle time.Duration
}

// New returns the handler of uploads. fail writes refusals. An upload that stands still for the time idle is given up.
func New(vm grpc.ClientConnInterface, fail func(http.ResponseWriter, *http.Request, error), idle time.Duration) *Handler {
	return &Handler{vmpb.NewUpkeepServiceClient(vm), fail, idle}
}

// ServeHTTP has the image brought to the node of the host, and answers with the task that mounts it. Nothing of the body is read
// before vm and the node are ready for the image.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	op, err := h.take(w, r)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]int32{"id": op.GetId(), "task": op.GetTask()}) // an error means that the client went away
}

// take takes the image of a request and returns the task that mounts it.
func (h *Handler) take(w http.ResponseWriter, r *http.Request) (*oppb.Operation, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 32)
	if err != nil || id < 1 {
		return nil, fault.Invalid.With("not the number of a host").On("id")
	}
	if r.Header.Get("Idempotency-Key") != "" {
		return nil, fault.Invalid.With("an upload cannot be repeated by a key").On("Idempotency-Key")
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	still := time.AfterFunc(h.idle, func() {
		cancel(errIdle)
		_ = http.NewResponseController(w).SetReadDeadline(time.Now()) // a writer without deadlines is no connection
	})
	defer still.Stop()
	name, err := h.send(ctx, r, int32(id), func() { still.Reset(h.idle) })
	if cause := context.Cause(ctx); errors.Is(cause, errIdle) {
		return nil, errIdle
	}
	if err != nil {
		return nil, err
	}
	return h.vm.UploadISO(ctx, &vmpb.UploadISORequest{Id: int32(id), Upload: name})
}

// send sends the image to the node and returns its name there. It calls moved whenever something went on.
func (h *Handler) send(ctx context.Context, r *http.Request, id int32, moved func()) (name string, err error) {
	s, err := h.vm.TakeISO(ctx)
	if err != nil {
		return "", err
	}
	if err := s.Send(&vmpb.TakeISORequest{Id: id}); err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if _, err := s.Recv(); err != nil {
		return "", err
	}
	moved()
	file, err := fileOf(r)
	if err != nil {
		return "", err
	}
	if err := copyTo(s, file, moved); err != nil {
		return "", err
	}
	done, err := s.Recv()
	return done.GetUpload(), err
}

// copyTo sends a file to its end. An error of vm is that of its next answer.
func copyTo(s vmpb.UpkeepService_TakeISOClient, file io.Reader, moved func()) error {
	for {
		buf := make([]byte, piece) // a message on its way keeps its own
		n, err := file.Read(buf)
		if n > 0 {
			sent := s.Send(&vmpb.TakeISORequest{Data: buf[:n]})
			if errors.Is(sent, io.EOF) {
				return nil
			}
			if sent != nil {
				return sent
			}
			moved()
		}
		if errors.Is(err, io.EOF) {
			return s.CloseSend()
		}
		if err != nil {
			return errBroken.Wrap(err)
		}
	}
}

// fileOf returns the file in a body: the body itself, or a part of it.
func fileOf(r *http.Request) (io.Reader, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "multipart/form-data" {
		return r.Body, nil
	}
	parts, err := r.MultipartReader()
	if err != nil {
		return nil, fault.Invalid.With("a body that cannot be read: %v", err)
	}
	for range maxParts {
		p, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, errBroken.Wrap(err)
		}
		if p.FormName() == field {
			return p, nil
		}
	}
	return nil, fault.Invalid.With("the body has no such part").On(field)
}
