package upload_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fullstorydev/grpchan/inprocgrpc"

	oppb "slipway.dev/proto/op/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"

	"slipway.dev/gateway/internal/upload"
)

// taker is a vm that takes uploads for host 1 and names an upload after its bytes. It takes none of host 2, nothing more after "stop",
// and hangs after "hang".
type taker struct {
	vmpb.UnimplementedUpkeepServiceServer
	open, broken, whole atomic.Int32 // uploads under way, that broke off, and that came to their end
}

func (v *taker) TakeISO(s vmpb.UpkeepService_TakeISOServer) error {
	v.open.Add(1)
	defer v.open.Add(-1)
	first, err := s.Recv()
	if err != nil {
		return err
	}
	if first.GetId() == 2 {
		return fault.NotFound
	}
	if err := s.Send(&vmpb.TakeISOResponse{}); err != nil {
		return err
	}
	var all bytes.Buffer
	for {
		in, err := s.Recv()
		if errors.Is(err, io.EOF) {
			v.whole.Add(1)
			return s.Send(&vmpb.TakeISOResponse{Upload: all.String()})
		}
		if err != nil {
			v.broken.Add(1)
			return err
		}
		switch all.Write(in.GetData()); {
		case strings.HasSuffix(all.String(), "stop"):
			return fault.Invalid.With("no room")
		case strings.HasSuffix(all.String(), "hang"):
			<-s.Context().Done()
			return s.Context().Err()
		}
	}
}

func (*taker) UploadISO(_ context.Context, r *vmpb.UploadISORequest) (*oppb.Operation, error) {
	if r.GetUpload() != "image" {
		return nil, fault.Invalid.With("%q", r.GetUpload())
	}
	return &oppb.Operation{Id: r.GetId(), Task: 7}, nil
}

// serve serves uploads, of which one that stands still for the time idle is given up.
func serve(t *testing.T, idle time.Duration) (url string, vm *taker) {
	t.Helper()
	vm = &taker{}
	var conn inprocgrpc.Channel
	vmpb.RegisterUpkeepServiceServer(&conn, vm)
	h := upload.New(&conn, func(w http.ResponseWriter, _ *http.Request, err error) {
		f, _ := fault.From(err)
		http.Error(w, f.Reason, http.StatusBadRequest)
	}, idle)
	mux := http.NewServeMux()
	mux.Handle("POST /{id}", h)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL, vm
}

// post sends a body and returns the answer.
func post(t *testing.T, url, kind string, body io.Reader) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", kind)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// form returns a multipart body with parts of these names, and its type.
func form(parts ...string) (string, io.Reader) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, name := range parts {
		p, err := w.CreateFormFile(name, "a.iso")
		if err == nil {
			_, err = io.WriteString(p, "image")
		}
		if err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return w.FormDataContentType(), &b
}

// TestUpload: a whole image is mounted, from either sort of body; a refusal of vm is the answer.
func TestUpload(t *testing.T) {
	t.Parallel()
	url, _ := serve(t, time.Hour)
	for _, tt := range []struct{ path, body, want string }{
		{"/1", "image", `{"id":1,"task":7}`},
		{"/2", "image", "NOT_FOUND"},
		{"/x", "image", "INVALID_ARGUMENT"},
		{"/1", "", "INVALID_ARGUMENT"},
		{"/1", "stop", "INVALID_ARGUMENT"},
	} {
		if got := post(t, url+tt.path, "application/octet-stream", strings.NewReader(tt.body)); got != tt.want {
			t.Errorf("%s %q: %s, want %s", tt.path, tt.body, got, tt.want)
		}
	}
	for want, parts := range map[string][]string{`{"id":1,"task":7}`: {"name", "file", "os"}, "INVALID_ARGUMENT": {"name"}} {
		kind, body := form(parts...)
		if got := post(t, url+"/1", kind, body); got != want {
			t.Errorf("parts %v: %s, want %s", parts, got, want)
		}
	}
	kind, body := form("file")
	whole, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	cut := bytes.NewReader(whole[:len(whole)-8])
	if got := post(t, url+"/1", kind, cut); got != "UPLOAD_FAILED" {
		t.Errorf("a form without its end: %s", got)
	}
}

// wait waits until done returns true.
func wait(t *testing.T, done func() bool) {
	t.Helper()
	for !done() {
		if t.Context().Err() != nil {
			t.Fatal("the test ended")
		}
		time.Sleep(time.Millisecond)
	}
}

// TestUploadBreaksOff: vm hears of a client that leaves before the end of its file.
func TestUploadBreaksOff(t *testing.T) {
	t.Parallel()
	url, vm := serve(t, time.Hour)
	out, in := io.Pipe()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/1", out)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		resp, err := http.DefaultClient.Do(r)
		if err == nil {
			err = fmt.Errorf("answer %d", resp.StatusCode)
			_ = resp.Body.Close()
		}
		ended <- err
	}()
	if _, err := io.WriteString(in, "im"); err != nil {
		t.Fatal(err)
	}
	_ = in.CloseWithError(errors.New("the client breaks off"))
	wait(t, func() bool { return vm.broken.Load() == 1 })
	if vm.whole.Load() != 0 {
		t.Error("vm has a whole image")
	}
	if err := <-ended; err == nil || strings.HasPrefix(err.Error(), "answer") {
		t.Error(err)
	}
}

// TestUploadStandsStill: an upload is given up whoever holds it: a client that sends no more, or a vm that takes no more.
func TestUploadStandsStill(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"im", "hang"} {
		t.Run(first, func(t *testing.T) {
			t.Parallel()
			url, vm := serve(t, 50*time.Millisecond)
			out, in := io.Pipe()
			t.Cleanup(func() { _ = in.Close() })
			go func() { _, _ = io.WriteString(in, first) }() // the body is read as far as it goes
			if got := post(t, url+"/1", "application/octet-stream", out); got != "UPLOAD_FAILED" {
				t.Error(got)
			}
			wait(t, func() bool { return vm.open.Load() == 0 })
			if vm.whole.Load() != 0 {
				t.Error("vm has a whole image")
			}
		})
	}
}
