package agent

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/fault"
)

const (
	uploadsAtOnce = 8                // of one node
	uploadsOfOne  = 2                // of those, uploads of one account
	uploadWait    = 10 * time.Second // for one of these places
	uploadLife    = 6 * time.Hour    // of an image for which no FetchCD came
)

var (
	errUpload  = fault.New(codes.FailedPrecondition, "UPLOAD_FAILED", "the image was not uploaded")
	errUploads = fault.New(codes.ResourceExhausted, "UPLOAD_BUSY", "the node takes as many uploads as it can, or as one account may have: repeat this later")
)

// TakeCD stores the image of a CD that comes, until FetchCD moves it to its machine.
func (a *Agent) TakeCD(s nodepb.NodeService_TakeCDServer) error {
	first, err := s.Recv()
	if err != nil {
		return err
	}
	id, err := machineID(first.GetMachine())
	if err != nil {
		return err
	}
	leave, err := a.uploads.enter(s.Context(), first.GetAccount())
	if err != nil {
		return err
	}
	defer leave()
	if err := a.downloads.room(); err != nil { // before anything comes
		return err
	}
	f, err := os.CreateTemp(a.downloads.dir, "*.upload")
	if err != nil {
		return spaceOf(err)
	}
	err = s.Send(&nodepb.TakeCDResponse{}) // the image may come
	var size int64
	if err == nil {
		size, err = a.downloads.copy(f, &sent{stream: s}, errUpload)
	}
	if err == nil {
		err = checkCD(f, errUpload)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	return s.Send(&nodepb.TakeCDResponse{Upload: a.uploads.keep(id, f.Name()), SizeMib: clamp.Int32(size>>20 + 1)})
}

// sent reads the image that comes by a stream.
type sent struct {
	stream nodepb.NodeService_TakeCDServer
	rest   []byte // of the last message
}

// Read implements io.Reader.
func (r *sent) Read(to []byte) (int, error) {
	for len(r.rest) == 0 {
		in, err := r.stream.Recv()
		if err != nil {
			return 0, err
		}
		r.rest = in.GetData()
	}
	n := copy(to, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// uploads are the images that were uploaded and are not with their machines yet. They end with the process.
type uploads struct {
	slots *slots

	mu    sync.Mutex
	whole map[uuid.UUID]*upload // by machine
}

type upload struct {
	name, path string
	end        *time.Timer
}

func newUploads() *uploads {
	return &uploads{slots: newSlots(uploadsAtOnce, uploadsOfOne), whole: map[uuid.UUID]*upload{}}
}

// enter counts an upload of an account until the returned function is called.
func (u *uploads) enter(ctx context.Context, account int32) (leave func(), err error) {
	ctx, stop := context.WithTimeoutCause(ctx, uploadWait, errUploads)
	defer stop()
	if leave, err = u.slots.take(ctx, account); err != nil {
		return nil, context.Cause(ctx)
	}
	return leave, nil
}

// keep keeps the image of a machine in place of an earlier one, and returns its name.
func (u *uploads) keep(machine uuid.UUID, path string) string {
	x := &upload{name: uuid.NewString(), path: path}
	u.mu.Lock()
	defer u.mu.Unlock()
	if old := u.whole[machine]; old != nil {
		old.drop()
	}
	x.end = time.AfterFunc(uploadLife, func() { u.forget(machine, x) })
	u.whole[machine] = x
	return x.name
}

// find returns an image of a machine.
func (u *uploads) find(machine uuid.UUID, name string) (*upload, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if x := u.whole[machine]; x != nil && x.name == name {
		return x, nil
	}
	return nil, errUpload.With("the uploaded image is not on the node any more: upload it again")
}

// forget removes an image that is still kept for a machine.
func (u *uploads) forget(machine uuid.UUID, x *upload) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.whole[machine] == x {
		x.drop()
		delete(u.whole, machine)
	}
}

// drop removes the file, if it is there.
func (x *upload) drop() {
	x.end.Stop()
	_ = os.Remove(x.path)
}
