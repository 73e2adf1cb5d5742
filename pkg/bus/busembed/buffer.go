package busembed

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
)

// buffered returns a connection to the one who reads the other end of a pipe, with the kernel's buffers in between. On a pipe
// alone a client that writes waits until the server reads, which it does not while it flushes its files; meanwhile the client
// does not read, and the server ends a connection on which it could not write for ten seconds.
func buffered(pipe net.Conn) (net.Conn, error) {
	near, far, err := pair()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connection inside the process: %w", err), pipe.Close())
	}
	for _, way := range [][2]net.Conn{{far, pipe}, {pipe, far}} {
		go func() {
			_, _ = io.Copy(way[0], way[1])
			_, _ = far.Close(), pipe.Close() // both ways end together
		}()
	}
	return near, nil
}

// pair returns two connected sockets without a name.
func pair() (near, far net.Conn, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	conns := [2]net.Conn{}
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "bus") // #nosec G115 -- a file descriptor
		var failed error
		conns[i], failed = net.FileConn(f) // a copy
		err = errors.Join(err, failed, f.Close())
	}
	if err != nil {
		for _, c := range conns {
			if c != nil {
				_ = c.Close()
			}
		}
		return nil, nil, err
	}
	return conns[0], conns[1], nil
}
