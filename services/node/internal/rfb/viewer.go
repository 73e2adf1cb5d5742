package rfb

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

// viewer is one connection.
type viewer struct {
	screen *Screen
	c      io.ReadWriter
	asked  chan bool // a picture is wanted: at once, or (true) when it has changed
	left   chan struct{}

	mu     sync.Mutex
	format format
}

// Lengths of the messages of viewers, without the byte that says which.
var lengths = map[byte]int{0: 19, 2: 3, 3: 9, 4: 7, 5: 5, 6: 7, 255: 11}

// listen reads the viewer's messages.
func (v *viewer) listen() error {
	var b [20]byte
	for {
		if _, err := io.ReadFull(v.c, b[:1]); err != nil {
			return err
		}
		n, known := lengths[b[0]]
		if !known {
			return fmt.Errorf("rfb: message %d", b[0])
		}
		if _, err := io.ReadFull(v.c, b[1:1+n]); err != nil {
			return err
		}
		if err := v.hear(b[0], b[1:1+n]); err != nil {
			return err
		}
	}
}

// hear handles a message, of which it reads what follows the fixed part.
func (v *viewer) hear(kind byte, b []byte) error {
	switch kind {
	case 0: // the format of pixels
		f, err := readFormat(b[3:])
		if err != nil {
			return err
		}
		v.mu.Lock()
		v.format = f
		v.mu.Unlock()
	case 2: // encodings; every viewer knows the plain one
		return v.skip(4 * int64(binary.BigEndian.Uint16(b[1:])))
	case 3:
		v.want(b[0] != 0)
	case 4:
		if b[0] != 0 {
			v.screen.typed(binary.BigEndian.Uint32(b[3:]))
		}
	case 6: // the clipboard
		return v.skip(int64(binary.BigEndian.Uint32(b[3:])))
	case 255: // QEMU's keys, with scan codes
		if b[0] == 0 && b[2] != 0 {
			v.screen.typed(binary.BigEndian.Uint32(b[3:]))
		}
	}
	return nil
}

func (v *viewer) skip(n int64) error {
	_, err := io.CopyN(io.Discard, v.c, n)
	return err
}

// want notes what is wanted. A picture that is wanted at once is not forgotten for one that may wait.
func (v *viewer) want(changed bool) {
	select {
	case v.asked <- changed:
	case before := <-v.asked:
		v.asked <- changed && before
	}
}

// paint sends pictures that are wanted.
func (v *viewer) paint() {
	var seen <-chan struct{}
	for {
		var changed bool
		select {
		case <-v.left:
			return
		case changed = <-v.asked:
		}
		for changed && seen != nil {
			select {
			case <-v.left:
				return
			case <-seen:
				changed = false
			case again := <-v.asked:
				changed = changed && again
			}
		}
		v.mu.Lock()
		f := v.format
		v.mu.Unlock()
		var picture []byte
		picture, seen = v.screen.pixels(f)
		head := []byte{0, 0, 0, 1, 0, 0, 0, 0, Width >> 8, Width & 255, 0, Height, 0, 0, 0, 0}
		if _, err := v.c.Write(append(head, picture...)); err != nil {
			return // listen hears of it
		}
	}
}
