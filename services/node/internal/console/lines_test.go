package console_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/google/uuid"

	"slipway.dev/services/node/internal/console"
)

// opener hands out pipes, and keeps their other ends.
func opener(far chan<- net.Conn) func(context.Context, uuid.UUID) (net.Conn, error) {
	return func(context.Context, uuid.UUID) (net.Conn, error) {
		a, b := net.Pipe()
		far <- b
		return a, nil
	}
}

func join(t *testing.T, l *console.Lines, id uuid.UUID) *console.Viewer {
	t.Helper()
	v, err := l.Join(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	return v
}

func TestViewersShareALine(t *testing.T) {
	t.Parallel()
	far, id := make(chan net.Conn, 2), uuid.New()
	l := console.NewLines(opener(far))
	one, two := join(t, l, id), join(t, l, id)
	guest := <-far
	if _, err := guest.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	for _, v := range []*console.Viewer{one, two} {
		if _, err := io.ReadFull(v, got); err != nil || string(got) != "hello" {
			t.Errorf("a viewer sees %q, %v", got, err)
		}
	}
	go func() { _, _ = two.Write([]byte("typed")) }()
	if _, err := io.ReadFull(guest, got); err != nil || string(got) != "typed" {
		t.Errorf("the guest gets %q, %v", got, err)
	}
	_ = one.Close()
	if _, err := one.Read(got); !errors.Is(err, io.EOF) {
		t.Errorf("a closed viewer reads: %v", err)
	}
	if _, err := guest.Write([]byte("again")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(two, got); err != nil || string(got) != "again" {
		t.Errorf("who stays sees %q, %v", got, err)
	}
	_ = two.Close()
	if _, err := guest.Read(got); err == nil {
		t.Error("the last viewer has left, and the line stays")
	}
	join(t, l, id)
	<-far // the next one has a connection of its own
}

// TestSlowViewers: a guest never waits for a viewer that reads nothing, and the others go on.
func TestSlowViewers(t *testing.T) {
	t.Parallel()
	far, id := make(chan net.Conn, 1), uuid.New()
	l := console.NewLines(opener(far))
	slow, fast := join(t, l, id), join(t, l, id)
	guest := <-far
	text, got := bytes.Repeat([]byte("x"), 1<<10), make([]byte, 1<<10)
	for range 1000 {
		if _, err := guest.Write(text); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(fast, got); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := io.Copy(io.Discard, slow); err != nil || n >= 1000<<10 {
		t.Errorf("the slow viewer was given %d bytes, %v", n, err)
	}
}

func TestLinesThatFail(t *testing.T) {
	t.Parallel()
	broken, id := errors.New("no line"), uuid.New()
	fail := broken
	far := make(chan net.Conn, 1)
	l := console.NewLines(func(ctx context.Context, id uuid.UUID) (net.Conn, error) {
		if fail != nil {
			return nil, fail
		}
		return opener(far)(ctx, id)
	})
	if _, err := l.Join(t.Context(), id); !errors.Is(err, broken) {
		t.Fatalf("joined: %v", err)
	}
	fail = nil
	v := join(t, l, id)
	_ = (<-far).Close()
	if _, err := v.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the line has ended: %v", err)
	}
	if _, err := v.Write([]byte("x")); err == nil {
		t.Error("typed on a line that has ended")
	}
}

// TestHangingLine: who waits for a line that does not open may leave, and what opens later is closed.
func TestHangingLine(t *testing.T) {
	t.Parallel()
	id, asked, opened := uuid.New(), make(chan bool), make(chan net.Conn)
	l := console.NewLines(func(context.Context, uuid.UUID) (net.Conn, error) {
		close(asked)
		return <-opened, nil
	})
	first := make(chan *console.Viewer)
	go func() {
		v, _ := l.Join(context.Background(), id)
		first <- v
	}()
	<-asked
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Join(gone, id); !errors.Is(err, context.Canceled) {
		t.Errorf("joined: %v", err)
	}
	a, b := net.Pipe()
	opened <- a
	_ = (<-first).Close()
	if _, err := b.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the line stays: %v", err)
	}
}
