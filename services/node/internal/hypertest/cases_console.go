package hypertest

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/google/uuid"

	"slipway.dev/services/node/internal/hyper"
)

// noConsole: a machine that does not run has no console.
func noConsole(s suite) {
	ctx, m := context.Background(), Machine(s.T, s.d)
	for _, kind := range []hyper.Console{hyper.VNC, hyper.Serial} {
		_, err := s.d.OpenConsole(ctx, uuid.New(), kind)
		s.is("of an unknown machine", err, hyper.ErrNotRunning)
	}
	s.ok("Define", s.d.Define(ctx, m))
	for _, kind := range []hyper.Console{hyper.VNC, hyper.Serial} {
		_, err := s.d.OpenConsole(ctx, m.UUID, kind)
		s.is("of a machine that is off", err, hyper.ErrNotRunning)
	}
}

// consoles: a running machine has a display, which viewers share whatever they ask for, and a serial line. They end with it.
func consoles(s suite) {
	ctx, m := context.Background(), Machine(s.T, s.d)
	s.ok("Define", s.d.Define(ctx, m))
	s.ok("Start", s.d.Start(ctx, m.UUID))
	first, line := s.console(m.UUID, hyper.VNC), s.console(m.UUID, hyper.Serial)
	s.ok("a viewer", Handshake(first))
	s.ok("a second viewer", Handshake(s.console(m.UUID, hyper.VNC)))
	s.ok("a picture for the first", Picture(first))
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, line)
		ended <- err
	}()
	if _, err := line.Write([]byte("\r")); err != nil {
		s.Errorf("type on the serial line: %v", err)
	}
	s.ok("PowerOff", s.d.PowerOff(ctx, m.UUID))
	_, err := io.Copy(io.Discard, first)
	for kind, err := range map[hyper.Console]error{hyper.VNC: err, hyper.Serial: <-ended} {
		if isTimeout(err) {
			s.Errorf("the machine is off, and its console %s goes on", kind)
		}
	}
	_, err = s.d.OpenConsole(ctx, m.UUID, hyper.VNC)
	s.is("of a machine that was stopped", err, hyper.ErrNotRunning)
	s.ok("Start again", s.d.Start(ctx, m.UUID))
	s.ok("a viewer after another start", Handshake(s.console(m.UUID, hyper.VNC)))
}

// console connects to a console, for as long as a loaded node may take.
func (s suite) console(id uuid.UUID, kind hyper.Console) net.Conn {
	s.Helper()
	c, err := s.d.OpenConsole(context.Background(), id, kind)
	s.ok("OpenConsole", err)
	s.Cleanup(func() { _ = c.Close() })
	s.ok("deadline", c.SetDeadline(time.Now().Add(time.Minute)))
	return c
}

func isTimeout(err error) bool {
	timeout, ok := err.(net.Error) //nolint:errorlint // it comes as it is from the connection
	return ok && timeout.Timeout()
}

// Handshake begins RFB 3.8 as a viewer that wants the display for itself.
func Handshake(c io.ReadWriter) error {
	version := make([]byte, 12)
	if _, err := io.ReadFull(c, version); err != nil {
		return err
	}
	if string(version) != "RFB 003.008\n" {
		return fmt.Errorf("version %q", version)
	}
	if _, err := c.Write(version); err != nil {
		return err
	}
	kinds := make([]byte, 2)
	if _, err := io.ReadFull(c, kinds); err != nil {
		return err
	}
	if kinds[0] != 1 || kinds[1] != 1 {
		return fmt.Errorf("kinds of security %v, want none alone", kinds)
	}
	if _, err := c.Write([]byte{1}); err != nil {
		return err
	}
	var result [4]byte
	if _, err := io.ReadFull(c, result[:]); err != nil {
		return err
	}
	if result != [4]byte{} {
		return fmt.Errorf("refused: %v", result)
	}
	if _, err := c.Write([]byte{0}); err != nil {
		return err
	}
	head := make([]byte, 24)
	if _, err := io.ReadFull(c, head); err != nil {
		return err
	}
	_, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(head[20:])))
	return err
}

// Picture has the display sent whole, and reads the head of the answer.
func Picture(c io.ReadWriter) error {
	if _, err := c.Write([]byte{3, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}); err != nil {
		return err
	}
	head := make([]byte, 16)
	if _, err := io.ReadFull(c, head); err != nil {
		return err
	}
	if head[0] != 0 || binary.BigEndian.Uint16(head[2:]) == 0 {
		return fmt.Errorf("no picture: % x", head)
	}
	return nil
}
