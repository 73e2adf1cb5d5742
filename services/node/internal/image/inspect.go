// Package image parses the headers of disk images, and runs qemu-img to write images.
//
// qemu-img opens any file that a header names: backing files, data files, other formats. So this package checks the header first
// and then passes the format to qemu-img, which never has to guess.
package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/fault"
)

// ErrRefused is the fault of an image that is not of its declared format, or that refers to other files.
var ErrRefused = fault.New(codes.InvalidArgument, "IMAGE_REFUSED", "the image is not acceptable")

// The supported formats.
const (
	QCOW2 = "qcow2"
	Raw   = "raw"
)

// Info is the content of a header.
type Info struct {
	Format      string
	VirtualSize int64  // bytes
	Backing     string // the backing file as written, empty for none
}

// Incompatible feature bits of qcow2 version 3.
const (
	bitDirty       = 1 << 0
	bitCorrupt     = 1 << 1
	bitDataFile    = 1 << 2
	bitCompression = 1 << 3
	bitExtendedL2  = 1 << 4
	knownBits      = bitDirty | bitCorrupt | bitDataFile | bitCompression | bitExtendedL2
)

const extDataFile = 0x44415441 // header extension: name of the external data file

var qcowMagic = []byte("QFI\xfb")

// Inspect accepts a self-contained image of the declared format and at most max bytes of virtual size.
func Inspect(f io.ReaderAt, size int64, format string, max int64) (Info, error) {
	var info Info
	var err error
	switch format {
	case QCOW2:
		if info, err = readQCOW2(f, size); err != nil {
			return Info{}, err
		}
		if info.Backing != "" {
			return Info{}, ErrRefused.With("the image has a backing file")
		}
	case Raw:
		other, err := foreign(f, size)
		if err != nil {
			return Info{}, fmt.Errorf("read image: %w", err)
		}
		if other != "" {
			return Info{}, ErrRefused.With("the image is declared raw but looks like %s", other)
		}
		if size == 0 || size%512 != 0 {
			return Info{}, ErrRefused.With("a raw image is a whole number of 512-byte sectors")
		}
		info = Info{Format: Raw, VirtualSize: size}
	default:
		return Info{}, ErrRefused.With("format %q is not one of qcow2, raw", format)
	}
	if info.VirtualSize > max {
		return Info{}, ErrRefused.With("the image has %d MiB, more than the %d MiB allowed", info.VirtualSize>>20, max>>20)
	}
	return info, nil
}

// Overlay reads the header of a disk that this package made: qcow2, perhaps over a template.
func Overlay(path string) (Info, error) {
	f, err := os.Open(path)
	if err != nil {
		return Info{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return Info{}, err
	}
	if !st.Mode().IsRegular() {
		return Info{}, ErrRefused.With("not a regular file")
	}
	return readQCOW2(f, st.Size())
}

func readQCOW2(f io.ReaderAt, fileSize int64) (Info, error) {
	var h [112]byte
	if n, err := f.ReadAt(h[:], 0); err != nil && (!errors.Is(err, io.EOF) || n < 72) {
		if errors.Is(err, io.EOF) {
			return Info{}, ErrRefused.With("not a qcow2 image")
		}
		return Info{}, fmt.Errorf("read header: %w", err)
	}
	be := binary.BigEndian
	version, backingAt, backingLen := be.Uint32(h[4:]), be.Uint64(h[8:]), be.Uint32(h[16:])
	clusterBits, size := be.Uint32(h[20:]), be.Uint64(h[24:])
	end, features := uint32(72), uint64(0)
	if version >= 3 {
		features, end = be.Uint64(h[72:]), be.Uint32(h[100:])
	}
	switch {
	case !bytes.Equal(h[:4], qcowMagic):
		return Info{}, ErrRefused.With("not a qcow2 image")
	case version != 2 && version != 3:
		return Info{}, ErrRefused.With("qcow2 version %d is not known", version)
	case clusterBits < 9 || clusterBits > 21:
		return Info{}, ErrRefused.With("cluster size is out of range")
	case be.Uint32(h[32:]) != 0:
		return Info{}, ErrRefused.With("the image is encrypted")
	case be.Uint32(h[60:]) != 0:
		return Info{}, ErrRefused.With("the image holds snapshots")
	case size == 0 || size > 1<<62:
		return Info{}, ErrRefused.With("virtual size is out of range")
	case features&bitDataFile != 0:
		return Info{}, ErrRefused.With("the image has an external data file")
	case features&bitCorrupt != 0:
		return Info{}, ErrRefused.With("the image is marked corrupt")
	case features&^knownBits != 0:
		return Info{}, ErrRefused.With("the image needs features that are not known")
	case version == 3 && (end < 104 || end > 1<<clusterBits || end%8 != 0):
		return Info{}, ErrRefused.With("header length is out of range")
	}
	limit := int64(1) << clusterBits
	info := Info{Format: QCOW2, VirtualSize: clamp.Int64(size)}
	if at := clamp.Int64(backingAt); at != 0 {
		if backingLen == 0 || backingLen > 1023 || at > limit-int64(backingLen) {
			return Info{}, ErrRefused.With("backing file name is out of range")
		}
		name := make([]byte, backingLen)
		if _, err := f.ReadAt(name, at); err != nil {
			return Info{}, ErrRefused.With("backing file name lies outside the image").Wrap(err)
		}
		info.Backing, limit = string(name), at
	}
	return info, extensions(f, int64(end), min(limit, fileSize))
}

// extensions walks the header extensions up to their end mark.
func extensions(f io.ReaderAt, at, limit int64) error {
	for at+8 <= limit {
		var e [8]byte
		if _, err := f.ReadAt(e[:], at); err != nil {
			return ErrRefused.With("header extensions are cut off").Wrap(err)
		}
		kind, size := binary.BigEndian.Uint32(e[:]), int64(binary.BigEndian.Uint32(e[4:]))
		switch kind {
		case 0:
			return nil
		case extDataFile:
			return ErrRefused.With("the image names an external data file")
		}
		at += 8 + (size+7)/8*8
	}
	return nil
}

// magics of other formats, at their offsets; a raw image must have none of them.
var magics = []struct {
	name  string
	at    int64
	magic string
}{
	{"qcow", 0, "QFI\xfb"},
	{"QED", 0, "QED\x00"},
	{"VMDK", 0, "KDMV"},
	{"VMDK", 0, "COWD"},
	{"VMDK", 0, "# Disk DescriptorFile"},
	{"VHD", 0, "conectix"},
	{"VHDX", 0, "vhdxfile"},
	{"VDI", 0x40, "\x7f\x10\xda\xbe"},
	{"Parallels", 0, "WithoutFreeSpace"},
	{"Parallels", 0, "WithouFreSpacExt"},
	{"Bochs", 0, "Bochs Virtual HD Image"},
	{"cloop", 0, "#!/bin/sh\n#V2.0 Format"},
	{"LUKS", 0, "LUKS\xba\xbe"},
	{"ISO 9660", 0x8001, "CD001"},
	{"gzip", 0, "\x1f\x8b"},
	{"xz", 0, "\xfd7zXZ\x00"},
	{"zstd", 0, "\x28\xb5\x2f\xfd"},
	{"bzip2", 0, "BZh"},
	{"zip", 0, "PK\x03\x04"},
	{"tar", 257, "ustar"},
}

// foreign returns the name of the format that a file seems to have, or "" for none.
func foreign(f io.ReaderAt, size int64) (string, error) {
	at := func(off int64, magic string) (bool, error) {
		if off < 0 || off+int64(len(magic)) > size {
			return false, nil
		}
		b := make([]byte, len(magic))
		_, err := f.ReadAt(b, off)
		return string(b) == magic, err
	}
	for _, m := range magics {
		if hit, err := at(m.at, m.magic); hit || err != nil {
			return m.name, err
		}
	}
	// These keep their magic in a footer.
	if hit, err := at(size-512, "conectix"); hit || err != nil {
		return "VHD", err
	}
	if hit, err := at(size-512, "koly"); hit || err != nil {
		return "DMG", err
	}
	return "", nil
}
