package vm_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/uuid"

	nodepb "slipway.dev/proto/node/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

// TakeCD takes an upload and names it after the machine; it refuses one that begins with "bad", and ends without an answer for
// "lost". It says on broken when the caller breaks off.
func (f *fakeAgent) TakeCD(s nodepb.NodeService_TakeCDServer) error {
	first, err := s.Recv()
	if err != nil {
		return err
	}
	if err := s.Send(&nodepb.TakeCDResponse{}); err != nil {
		return err
	}
	for {
		in, err := s.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return s.Send(&nodepb.TakeCDResponse{Upload: uuid.NewSHA1(uuid.Nil, []byte(first.GetMachine())).String()})
		case err != nil:
			if f.broken != nil {
				close(f.broken)
			}
			return err
		}
		switch string(in.GetData()) {
		case "bad":
			return fault.Invalid.With("no image")
		case "lost":
			return nil
		}
	}
}

// send uploads pieces for a host and returns the name of the whole.
func (w *world) send(ctx context.Context, id int32, pieces ...string) (string, error) {
	w.Helper()
	s, err := w.upkeep().TakeISO(ctx)
	if err != nil {
		w.Fatal(err)
	}
	if err := s.Send(&vmpb.TakeISORequest{Id: id}); err != nil && !errors.Is(err, io.EOF) {
		w.Fatal(err)
	}
	if _, err := s.Recv(); err != nil {
		return "", err
	}
	for _, p := range pieces {
		if err := s.Send(&vmpb.TakeISORequest{Data: []byte(p)}); err != nil && !errors.Is(err, io.EOF) {
			w.Fatal(err)
		}
	}
	if err := s.CloseSend(); err != nil {
		w.Fatal(err)
	}
	done, err := s.Recv()
	return done.GetUpload(), err
}

// TestUploadedISO: a host starts from an image that was uploaded to its node. Nothing is taken for a host on which it cannot be
// mounted, and what the node says of an upload is what the caller hears.
func TestUploadedISO(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.create(w.admin(), wish("web1"))
	w.done(c.GetTask())
	id, name := c.GetId(), w.read(c.GetId()).GetInternalName()

	_, err := w.send(w.as(12, identity.RoleUser), id, "image")
	w.reason("another's host", err, "NOT_FOUND")
	_, err = w.upkeep().UploadISO(w.admin(), &vmpb.UploadISORequest{Id: id})
	w.reason("no image", err, "INVALID_ARGUMENT")
	_, err = w.send(w.admin(), id, "bad")
	w.reason("a bad image", err, "INVALID_ARGUMENT")
	if _, err = w.send(w.admin(), id, "lost"); err == nil {
		t.Error("a node that does not answer has the image")
	}

	w.agent.broken = make(chan struct{})
	ctx, cancel := context.WithCancel(w.admin())
	s, err := w.upkeep().TakeISO(ctx)
	if err == nil {
		err = s.Send(&vmpb.TakeISORequest{Id: id})
	}
	if err == nil {
		_, err = s.Recv()
	}
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-w.agent.broken

	upload, err := w.send(w.admin(), id, "the", "image")
	if err != nil {
		t.Fatal(err)
	}
	op, err := w.upkeep().UploadISO(w.admin(), &vmpb.UploadISORequest{Id: id, Upload: upload})
	if err != nil {
		t.Fatal(err)
	}
	w.done(op.GetTask())
	m := w.agent.machine(name)
	if task := w.task(op.GetTask()); task.GetStatus() != "complete" || !strings.HasPrefix(m.def.GetCd(), "iso-") || m.files[m.def.GetCd()] != upload {
		t.Errorf("task %v, machine %+v", task, m)
	}
	_, err = w.send(w.admin(), id, "image")
	w.reason("a second image", err, "ISO_MOUNTED")
	_, err = w.upkeep().UploadISO(w.admin(), &vmpb.UploadISORequest{Id: id, Upload: upload})
	w.reason("a second image", err, "ISO_MOUNTED")
	if task := w.finish(id); task.GetStatus() != "complete" {
		t.Errorf("task %v", task)
	}
}
