package rest

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
)

func post(t *testing.T, body io.Reader, length int64) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/", body)
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = length
	return r
}

// TestRoom: large bodies take room by their length before they are read; one that does not fit waits and is then refused with a fault
// after which clients repeat. Small bodies are still accepted.
func TestRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newRoom()
		const size = 1 << 20
		large := strings.Repeat("a", size)
		var frees []func()
		for range largeRoom / size {
			data, free, err := m.read(post(t, strings.NewReader(large), size), size)
			if err != nil || len(data) != size {
				t.Fatal(len(data), err)
			}
			frees = append(frees, free)
		}
		rest := strings.NewReader(large)
		start := time.Now()
		_, _, err := m.read(post(t, rest, -1), size)
		f, _ := fault.From(err)
		if f == nil || f.Code != codes.Unavailable || f.RetryAfter <= 0 || time.Since(start) != roomWait {
			t.Errorf("beside others: %v after %v", err, time.Since(start))
		}
		if read := size - rest.Len(); read > smallBody {
			t.Errorf("%d bytes were read without room", read)
		}
		if _, free, err := m.read(post(t, strings.NewReader("{}"), 2), size); err != nil {
			t.Errorf("a small body: %v", err)
		} else {
			free()
		}
		time.AfterFunc(roomWait/2, frees[0])
		data, _, err := m.read(post(t, strings.NewReader(large), size), size)
		if err != nil || string(data) != large {
			t.Errorf("after another was freed: %d bytes, %v", len(data), err)
		}
	})
}

// TestRoomOfSlowClients: a small body that arrives slowly holds no room meanwhile.
func TestRoomOfSlowClients(t *testing.T) {
	t.Parallel()
	m := newRoom()
	r, w := io.Pipe()
	done := make(chan error)
	go func() {
		_, _, err := m.read(post(t, r, 100), 1<<20)
		done <- err
	}()
	if _, err := w.Write([]byte("{")); err != nil { // it is read
		t.Fatal(err)
	}
	if !m.small.TryAcquire(smallRoom) || !m.large.TryAcquire(largeRoom) {
		t.Error("the body that comes slowly holds room")
	}
	m.small.Release(smallRoom)
	_ = w.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
