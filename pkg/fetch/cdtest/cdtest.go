// Package cdtest makes images of CDs for tests.
package cdtest

import "encoding/binary"

const sector = 2048

// Sectors of an image: those of its descriptors are fixed by ISO 9660 and El Torito.
const (
	atVolume = 16 + iota
	atBootRecord
	atEnd
	atCatalog
	atCode
	sectors
)

// code is a program for a PC without an operating system: it writes the text behind it, up to a zero byte, to the first serial
// port, and halts.
var code = []byte{
	0xfa,       // cli
	0xfc,       // cld
	0x31, 0xc0, // xor ax, ax
	0x8e, 0xd8, // mov ds, ax
	0xbe, 0x23, 0x7c, // mov si, text
	0xac,       // next: lodsb
	0x84, 0xc0, // test al, al
	0x74, 0x12, // jz halt
	0x88, 0xc4, // mov ah, al
	0xba, 0xfd, 0x03, // mov dx, 0x3fd: the port's state
	0xec,       // wait: in al, dx
	0xa8, 0x20, // test al, 0x20: ready for a byte
	0x74, 0xfb, // jz wait
	0xba, 0xf8, 0x03, // mov dx, 0x3f8
	0x88, 0xe0, // mov al, ah
	0xee,       // out dx, al
	0xeb, 0xe9, // jmp next
	0xf4,       // halt: hlt
	0xeb, 0xfd, // jmp halt
}

// Image returns the image of a CD from which a PC starts (El Torito, without emulation). The PC writes the text, of at most 2000
// bytes, to its first serial port, and halts.
func Image(text string) []byte {
	img := make([]byte, sectors*sector)
	at := func(n int) []byte { return img[n*sector : (n+1)*sector] }
	for n, kind := range map[int]byte{atVolume: 1, atBootRecord: 0, atEnd: 255} {
		copy(at(n), append([]byte{kind}, "CD001\x01"...))
	}
	copy(at(atBootRecord)[7:], "EL TORITO SPECIFICATION")
	binary.LittleEndian.PutUint32(at(atBootRecord)[0x47:], atCatalog)

	c := at(atCatalog)
	c[0], c[0x1e], c[0x1f] = 1, 0x55, 0xaa
	var sum uint16
	for i := 0; i < 32; i += 2 {
		sum += binary.LittleEndian.Uint16(c[i:])
	}
	binary.LittleEndian.PutUint16(c[0x1c:], -sum)
	c[0x20] = 0x88 // a machine can start from it
	binary.LittleEndian.PutUint16(c[0x26:], sector/512)
	binary.LittleEndian.PutUint32(c[0x28:], atCode)
	copy(at(atCode)[copy(at(atCode), code):], text+"\x00")
	return img
}
