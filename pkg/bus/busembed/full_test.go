package busembed_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sys/unix"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/bus/busembed"
)

// disk returns a directory that harm makes unwritable until mend: it fills the small disk that the directory is on, or, for a user
// who may not mount one, takes the right to write away.
func disk(t *testing.T) (dir string, harm, mend func()) {
	t.Helper()
	dir = t.TempDir()
	if os.Geteuid() != 0 || unix.Mount("tmpfs", dir, "tmpfs", 0, "size=48m") != nil {
		streams := filepath.Join(dir, "jetstream", "$G", "streams", "vm", "msgs")
		return dir, func() { chmod(t, streams, 0o500) }, func() { chmod(t, streams, 0o700) }
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	filler := filepath.Join(dir, "filler")
	return dir, func() { fill(t, filler) }, func() {
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
	}
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, unix.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// TestFullDisk fills the disk under the server. It says so, and works again once there is room, without a restart of the process.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir, harm, mend := disk(t)
	s, err := busembed.Start(busembed.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	b, err := s.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	var stored []string
	publish := func() error {
		e := bus.Event{ID: uuid.NewString(), Subject: "vm.v3.host.created", Key: "7", Type: "t", Data: make([]byte, 100<<10)}
		ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
		defer stop()
		_, err := b.Publish(ctx, e)
		if err == nil {
			stored = append(stored, e.ID)
		}
		return err
	}
	if err := publish(); err != nil || s.Ready() != nil {
		t.Fatal(err, s.Ready())
	}
	harm()
	wait(t, "a server that says why it stores nothing", func() bool { _ = publish(); return s.Ready() != nil })
	t.Log(s.Ready())
	mend()
	wait(t, "a server that stores again", func() bool { return s.Ready() == nil && publish() == nil })
	for range 3 {
		if err := publish(); err != nil {
			t.Error(err)
		}
	}
	have := inStream(t, s)
	for _, id := range stored {
		if !have[id] {
			t.Errorf("the acknowledged event %s is gone", id)
		}
	}
}

func inStream(t *testing.T, s *busembed.Server) map[string]bool {
	t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "vm")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for seq := stream.CachedInfo().State.FirstSeq; seq <= stream.CachedInfo().State.LastSeq; seq++ {
		m, err := stream.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(fmt.Errorf("at %d: %w", seq, err))
		}
		have[m.Header.Get(jetstream.MsgIDHeader)] = true
	}
	return have
}

func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !ok(); time.Sleep(100 * time.Millisecond) { // between two looks
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within three minutes", what)
		}
	}
}
