// Package rfb serves small screens by RFB 3.8, the protocol of VNC, for the machines of the simulated hypervisor: a viewer
// such as noVNC shows them, and keys that are typed there appear on the screen.
package rfb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// The size of a screen, in pixels. It has one field for each key, in rows.
const (
	Width  = 320
	Height = 200
	field  = 20
	fields = (Width / field) * (Height / field)
)

// Screen is the screen of one machine, which all of its viewers share. Each key that was typed is a field of four by four
// squares, the bits of the key's symbol (X11), the highest first.
type Screen struct {
	name string

	mu      sync.Mutex
	keys    []uint32
	changed chan struct{} // closed with the next change
}

// New returns an empty screen; name is the title that viewers show.
func New(name string) *Screen { return &Screen{name: name, changed: make(chan struct{})} }

// Keys returns the symbols of the keys that were typed and are still on the screen.
func (s *Screen) Keys() []uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]uint32(nil), s.keys...)
}

func (s *Screen) typed(key uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.keys) == fields {
		s.keys = s.keys[:0]
	}
	s.keys = append(s.keys, key)
	close(s.changed)
	s.changed = make(chan struct{})
}

// pixels returns the whole screen in a viewer's format, and a channel that is closed when it is out of date.
func (s *Screen) pixels(f format) ([]byte, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	size := int(f.bits) / 8
	dark, light := f.pixel(0x20, 0x28, 0x38), f.pixel(0xf0, 0xf0, 0xe0)
	out := make([]byte, 0, Width*Height*size)
	for y := range Height {
		for x := range Width {
			if at := y/field*(Width/field) + x/field; at < len(s.keys) && lit(s.keys[at], x%field, y%field) {
				out = append(out, light[:size]...)
			} else {
				out = append(out, dark[:size]...)
			}
		}
	}
	return out, s.changed
}

// lit reports whether a pixel of a key's field is lit.
func lit(key uint32, x, y int) bool {
	x, y = (x-2)/4, (y-2)/4 // a frame of two pixels
	return x >= 0 && y >= 0 && x < 4 && y < 4 && key>>(15-4*y-x)&1 == 1
}

// format is how a viewer wants its pixels.
type format struct {
	bits  uint8
	big   bool
	max   [3]uint16 // of red, green, blue
	shift [3]uint8
}

var usual = format{bits: 32, max: [3]uint16{255, 255, 255}, shift: [3]uint8{16, 8, 0}}

func (f format) encode() []byte {
	b := []byte{f.bits, 24, 0, 1}
	for _, m := range f.max {
		b = binary.BigEndian.AppendUint16(b, m)
	}
	return append(b, f.shift[0], f.shift[1], f.shift[2], 0, 0, 0)
}

func readFormat(b []byte) (format, error) {
	f := format{bits: b[0], big: b[2] != 0}
	if (f.bits != 8 && f.bits != 16 && f.bits != 32) || b[3] == 0 {
		return f, errors.New("rfb: only true colour of 8, 16 or 32 bits is served")
	}
	for i := range 3 {
		f.max[i], f.shift[i] = binary.BigEndian.Uint16(b[4+2*i:]), b[10+i]
	}
	return f, nil
}

// pixel returns a colour in the format, of which the first bits count.
func (f format) pixel(colour ...uint32) (out [4]byte) {
	v := uint32(0)
	for i, c := range colour {
		v |= c * uint32(f.max[i]) / 255 << (f.shift[i] & 31)
	}
	for i := range f.bits / 8 {
		at := 8 * i
		if f.big {
			at = f.bits - 8 - at
		}
		out[i] = byte(v >> at & 0xff) // #nosec G115 -- one byte
	}
	return out
}

// Serve speaks with one viewer until it leaves or breaks the protocol. The caller then closes the connection.
func (s *Screen) Serve(c io.ReadWriter) error {
	if err := s.greet(c); err != nil {
		return err
	}
	v := &viewer{screen: s, c: c, format: usual, asked: make(chan bool, 1), left: make(chan struct{})}
	go v.paint()
	err := v.listen()
	close(v.left)
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// greet agrees on version 3.8 without a password: who may connect is decided before.
func (s *Screen) greet(c io.ReadWriter) error {
	if _, err := io.WriteString(c, "RFB 003.008\n"); err != nil {
		return err
	}
	var version [12]byte
	if _, err := io.ReadFull(c, version[:]); err != nil {
		return err
	}
	if string(version[:]) != "RFB 003.008\n" {
		return fmt.Errorf("rfb: version %q", version)
	}
	if _, err := c.Write([]byte{1, 1}); err != nil { // one kind of security: none
		return err
	}
	var one [1]byte
	if _, err := io.ReadFull(c, one[:]); err != nil {
		return err
	}
	if _, err := c.Write([]byte{0, 0, 0, 0}); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, one[:]); err != nil { // whether it shares the screen: it does
		return err
	}
	b := append([]byte{Width >> 8, Width & 255, 0, Height}, usual.encode()...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(s.name))) // #nosec G115 -- a name is short
	_, err := c.Write(append(b, s.name...))
	return err
}
