package seed

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/diskfs/go-diskfs/backend"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"
)

const (
	sector = 2048
	volume = "cidata" // the label by which cloud-init finds the disk
)

// Image returns an ISO 9660 disk with Rock Ridge names that holds the documents. Equal documents give equal bytes, so that a seed
// that is already in place can be recognised.
func Image(f Files) ([]byte, error) {
	dir, err := os.MkdirTemp("", "slipway-seed-")
	if err != nil {
		return nil, fmt.Errorf("make workspace: %w", err)
	}
	defer os.RemoveAll(dir)
	for name, body := range map[string][]byte{
		"meta-data": f.MetaData, "user-data": f.UserData, "network-config": f.NetworkConfig,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), body, 0o600); err != nil {
			return nil, fmt.Errorf("write workspace: %w", err)
		}
	}
	disk := &memory{}
	img, err := iso9660.Create(disk, 0, 0, sector, dir)
	if err != nil {
		return nil, fmt.Errorf("create image: %w", err)
	}
	if err := img.Finalize(iso9660.FinalizeOptions{RockRidge: true, VolumeIdentifier: volume}); err != nil {
		return nil, fmt.Errorf("write image: %w", err)
	}
	b := disk.b
	if rest := len(b) % sector; rest != 0 {
		b = append(b, make([]byte, sector-rest)...)
	}
	if err := timeless(b); err != nil {
		return nil, err
	}
	return b, nil
}

// timeless puts one fixed date (and no inode numbers) into the image: in the volume descriptor, and in the root
// directory's records with their Rock Ridge entries. There are no other directories.
func timeless(b []byte) error {
	pvd := b[16*sector:]
	for i := range 4 {
		copy(pvd[813+17*i:], "2000010100000000\x00")
	}
	for i := 8; i < 72; i++ { // system and volume names are padded with spaces, the writer leaves zeros
		if pvd[i] == 0 {
			pvd[i] = ' '
		}
	}
	setDate(pvd[156+18:])
	extent := int(binary.LittleEndian.Uint32(pvd[156+2:])) * sector
	size := int(binary.LittleEndian.Uint32(pvd[156+10:]))
	if extent+size > len(b) {
		return errors.New("image: root directory lies outside")
	}
	for dir := b[extent : extent+size]; len(dir) > 0 && dir[0] > 0; dir = dir[dir[0]:] {
		rec := dir[:dir[0]]
		setDate(rec[18:])
		name := int(rec[32])
		for su := rec[33+name+(1-name%2):]; len(su) >= 4 && su[2] >= 4; su = su[su[2]:] {
			entry := su[:su[2]]
			switch string(entry[:2]) {
			case "TF":
				for d := entry[5:]; len(d) >= 7; d = d[7:] {
					setDate(d)
				}
			case "PX":
				if len(entry) >= 44 {
					clear(entry[36:44])
				}
			}
		}
	}
	return nil
}

func setDate(b []byte) { copy(b, []byte{100, 1, 1, 0, 0, 0, 0}) } // 2000-01-01 UTC

// memory is a disk in memory for the image writer.
type memory struct {
	b   []byte
	pos int64
}

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	if end := int(off) + len(p); end > len(m.b) {
		m.b = append(m.b, make([]byte, end-len(m.b))...)
	}
	return copy(m.b[off:], p), nil
}

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(m.b)) {
		return 0, io.EOF
	}
	n := copy(p, m.b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (m *memory) Read(p []byte) (int, error) {
	n, err := m.ReadAt(p, m.pos)
	m.pos += int64(n)
	return n, err
}

func (m *memory) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		off += m.pos
	case io.SeekEnd:
		off += int64(len(m.b))
	}
	m.pos = off
	return off, nil
}

func (m *memory) Stat() (fs.FileInfo, error)              { return nil, backend.ErrNotSuitable }
func (m *memory) Sys() (*os.File, error)                  { return nil, backend.ErrNotSuitable }
func (m *memory) Writable() (backend.WritableFile, error) { return m, nil }
func (m *memory) Path() string                            { return "" }
func (m *memory) Close() error                            { return nil }
