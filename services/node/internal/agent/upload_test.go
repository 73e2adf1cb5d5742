package agent_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/fetch/cdtest"
	"slipway.dev/pkg/rpc"
	"slipway.dev/services/node/internal/agent"
)

// sender sends uploads to an agent.
type sender struct{ nodepb.NodeServiceClient }

func sending(a nodepb.NodeServiceServer) sender {
	s := rpc.NewServer(slog.New(slog.DiscardHandler), nil)
	nodepb.RegisterNodeServiceServer(s, a)
	return sender{nodepb.NewNodeServiceClient(s.Local("vm"))}
}

// begin begins an upload that the agent is ready for.
func (c sender) begin(ctx context.Context, machine string, account int32) (nodepb.NodeService_TakeCDClient, error) {
	s, err := c.TakeCD(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.Send(&nodepb.TakeCDRequest{Machine: machine, Account: account}); err != nil {
		return nil, err
	}
	_, err = s.Recv()
	return s, err
}

// upload uploads an image in two pieces and returns its name.
func (c sender) upload(ctx context.Context, machine string, image []byte) (string, error) {
	s, err := c.begin(ctx, machine, 7)
	if err != nil {
		return "", err
	}
	for _, piece := range [][]byte{image[:len(image)/2], image[len(image)/2:]} {
		if err := s.Send(&nodepb.TakeCDRequest{Data: piece}); err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
	}
	if err := s.CloseSend(); err != nil {
		return "", err
	}
	done, err := s.Recv()
	return done.GetUpload(), err
}

func reasonOf(err error) string {
	if f, ok := fault.From(err); ok {
		return f.Reason
	}
	return ""
}

// TestUploadedCD: an uploaded image comes to its machine whole, once, and to no other; what is no image, or breaks off, leaves nothing.
func TestUploadedCD(t *testing.T) {
	t.Parallel()
	a, driver, _, dir := downloading(t)
	c, machine, image := sending(a), uuid.New(), cdtest.Image("hello")
	fetch := func(fence int64, machine uuid.UUID, name, upload string) error {
		_, err := c.FetchCD(t.Context(), &nodepb.FetchCDRequest{Command: commandFor(machine, fence), Name: name, Upload: upload})
		return err
	}
	if _, err := c.upload(t.Context(), "none", image); reasonOf(err) != "INVALID_ARGUMENT" {
		t.Errorf("no machine: %v", err)
	}
	for what, bytes := range map[string][]byte{"nothing": nil, "a page": []byte("<html>"), "a part": image[:16<<11]} {
		if _, err := c.upload(t.Context(), machine.String(), bytes); reasonOf(err) != "UPLOAD_FAILED" {
			t.Errorf("%s: %v", what, err)
		}
	}
	first, err := c.upload(t.Context(), machine.String(), image)
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.upload(t.Context(), machine.String(), image)
	if err != nil {
		t.Fatal(err)
	}
	if err := fetch(1, machine, "iso-1", first); reasonOf(err) != "UPLOAD_FAILED" {
		t.Errorf("an image that another one replaced: %v", err)
	}
	if err := fetch(1, uuid.New(), "iso-1", second); reasonOf(err) != "UPLOAD_FAILED" {
		t.Errorf("an image of another machine: %v", err)
	}
	for range 2 {
		if err := fetch(2, machine, "iso-1", second); err != nil {
			t.Error(err)
		}
	}
	if err := fetch(3, machine, "iso-2", second); reasonOf(err) != "UPLOAD_FAILED" {
		t.Errorf("an image that was used: %v", err)
	}
	list, err := driver.Traces(t.Context())
	if err != nil || len(list) != 1 || !slices.Equal(list[0].Disks, []string{"iso-1"}) {
		t.Errorf("machines %v %v", list, err)
	}
	empty(t, dir)
}

// empty fails if a directory has files.
func empty(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left are %v %v", left, err)
	}
}

// line is an upload without a connection, whose goroutines are all in the bubble of a test.
type line struct {
	grpc.ServerStream
	ctx   context.Context //nolint:containedctx // a stream has one
	in    chan *nodepb.TakeCDRequest
	out   chan *nodepb.TakeCDResponse
	ended chan error
}

// Context returns the context of the upload.
func (l *line) Context() context.Context { return l.ctx }

// Recv returns what comes, until in is closed.
func (l *line) Recv() (*nodepb.TakeCDRequest, error) {
	select {
	case m, more := <-l.in:
		if !more {
			return nil, io.EOF
		}
		return m, nil
	case <-l.ctx.Done():
		return nil, l.ctx.Err()
	}
}

// Send takes an answer.
func (l *line) Send(m *nodepb.TakeCDResponse) error {
	l.out <- m
	return nil
}

// upload begins an upload for an account, and returns when the agent is ready for the image, or refuses it.
func upload(ctx context.Context, a *agent.Agent, account int32) (*line, error) {
	l := &line{
		ctx: ctx, in: make(chan *nodepb.TakeCDRequest, 2), out: make(chan *nodepb.TakeCDResponse, 2), ended: make(chan error, 1),
	}
	l.in <- &nodepb.TakeCDRequest{Machine: uuid.NewString(), Account: account}
	go func() { l.ended <- a.TakeCD(l) }()
	select {
	case <-l.out:
		return l, nil
	case err := <-l.ended:
		return nil, err
	}
}

// TestUploadsEnd: an upload ends with its caller, an image that is not fetched with its time, and a node takes some at once only.
func TestUploadsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, _, _, dir := downloading(t)
		ctx, cancel := context.WithCancel(t.Context())
		for _, tt := range []struct {
			account int32
			most    int
		}{{7, 2}, {8, 2}, {0, 4}, {9, 0}} {
			begun := 0
			for ; begun < 100; begun++ {
				l, err := upload(ctx, a, tt.account)
				if reasonOf(err) == "UPLOAD_BUSY" {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				l.in <- &nodepb.TakeCDRequest{Data: []byte("begun")}
			}
			if begun != tt.most {
				t.Errorf("account %d: %d at once, want %d", tt.account, begun, tt.most)
			}
		}
		cancel()
		synctest.Wait()
		empty(t, dir)
		l, err := upload(t.Context(), a, 7)
		if err != nil {
			t.Fatal(err)
		}
		l.in <- &nodepb.TakeCDRequest{Data: cdtest.Image("hello")}
		close(l.in)
		if err := <-l.ended; err != nil {
			t.Error(err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
			t.Errorf("kept are %v %v", left, err)
		}
		time.Sleep(7 * time.Hour)
		synctest.Wait()
		empty(t, dir)
	})
}
