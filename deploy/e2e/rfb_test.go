//go:build e2e && !remote

package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"testing"
)

// rfb is a viewer of a display, by RFB 3.8.
type rfb struct {
	t *testing.T
	net.Conn
}

func (r rfb) say(b ...byte) {
	r.t.Helper()
	if _, err := r.Write(b); err != nil {
		r.t.Fatal(err)
	}
}

func (r rfb) hear(n int) []byte {
	r.t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		r.t.Fatal(err)
	}
	return b
}

// greet agrees with the display, which the viewer wants for itself, as noVNC may, and returns its size.
func (r rfb) greet() (width, height int) {
	r.t.Helper()
	r.say(r.hear(12)...)
	kinds := r.hear(int(r.hear(1)[0]))
	if !bytes.Contains(kinds, []byte{1}) {
		r.t.Fatalf("kinds of security %v", kinds)
	}
	r.say(1)
	if result := r.hear(4); !bytes.Equal(result, make([]byte, 4)) {
		r.t.Fatalf("refused: %v", result)
	}
	r.say(0)
	head := r.hear(24)
	r.hear(int(binary.BigEndian.Uint32(head[20:])))
	if binary.BigEndian.Uint16(head) == 0 {
		r.t.Fatalf("a display without width: % x", head)
	}
	return int(binary.BigEndian.Uint16(head)), int(binary.BigEndian.Uint16(head[2:]))
}

// look reads a picture and presses a key.
func (r rfb) look() {
	r.t.Helper()
	r.greet()
	r.say(3, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff)
	if update := r.hear(4); update[0] != 0 || binary.BigEndian.Uint16(update[2:]) == 0 {
		r.t.Fatalf("no picture: % x", update)
	}
	r.say(4, 1, 0, 0, 0, 0, 0, 'x')
	r.say(4, 0, 0, 0, 0, 0, 0, 'x')
}

// picture returns what a display of QEMU shows, as the page does.
func (r rfb) picture() picture {
	r.t.Helper()
	p := picture{}
	p.Width, p.Height = r.greet()
	r.say(3, 0, 0, 0, 0, 0, byte(p.Width>>8), byte(p.Width), byte(p.Height>>8), byte(p.Height))
	pixels := make([]byte, 4*p.Width*p.Height)
	colours := map[uint32]bool{}
	for left := p.Width * p.Height; left > 0; {
		for range binary.BigEndian.Uint16(r.hear(4)[2:]) {
			head := r.hear(12)
			x, y := int(binary.BigEndian.Uint16(head)), int(binary.BigEndian.Uint16(head[2:]))
			w, h := int(binary.BigEndian.Uint16(head[4:])), int(binary.BigEndian.Uint16(head[6:]))
			plain := r.hear(4 * w * h)
			for i := range w * h {
				bgr, at := plain[4*i:], 4*((y+i/w)*p.Width+x+i%w)
				copy(pixels[at:], []byte{bgr[2], bgr[1], bgr[0], 0xff})
				colours[binary.LittleEndian.Uint32(pixels[at:])] = true
			}
			left -= w * h
		}
	}
	sum := sha256.Sum256(pixels)
	p.Colours, p.Digest = len(colours), hex.EncodeToString(sum[:])
	return p
}
