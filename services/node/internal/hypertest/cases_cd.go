package hypertest

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"slipway.dev/pkg/fetch/cdtest"
	"slipway.dev/services/node/internal/hyper"
)

// cd: a machine starts from the CD in its drive, which stays as long as the machine is defined or runs with it.
func cd(s suite) {
	const text = "started from a CD"
	ctx, m := context.Background(), Machine(s.T, s.d)
	file := func() string {
		path := filepath.Join(s.o.Dir(s.T), "a.iso")
		if err := os.WriteFile(path, cdtest.Image(text), 0o600); err != nil {
			s.Fatal(err)
		}
		return path
	}
	for _, name := range []string{"", "../cd", "a/b", "cd.iso", strings.Repeat("a", 4096)} {
		s.is("AddCD "+name, s.d.AddCD(ctx, m.UUID, name, file()), hyper.ErrInvalid)
	}
	bare := m
	m.CD = "iso-1"
	s.is("Define without the image", s.d.Define(ctx, m), hyper.ErrNoDisk)
	for range 2 {
		path := file()
		s.ok("AddCD", s.d.AddCD(ctx, m.UUID, m.CD, path))
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			s.Errorf("the file is still there: %v", err)
		}
	}
	s.trace(m.UUID, hyper.Trace{UUID: m.UUID, Disks: []string{"iso-1", "root"}, Seed: true})
	both := m
	both.CD = "root"
	s.is("Define with a disk's name", s.d.Define(ctx, both), hyper.ErrInvalid)
	s.ok("Define", s.d.Define(ctx, m))
	s.ok("Start", s.d.Start(ctx, m.UUID))
	s.is("RemoveDisk of the CD", s.d.RemoveDisk(ctx, m.UUID, m.CD), hyper.ErrDiskInUse)
	if s.o.Boots {
		s.says(m, text)
	}
	s.ok("Define without the CD", s.d.Define(ctx, bare))
	s.is("RemoveDisk of the CD in the drive", s.d.RemoveDisk(ctx, m.UUID, m.CD), hyper.ErrDiskInUse)
	s.ok("PowerOff", s.d.PowerOff(ctx, m.UUID))
	for range 2 {
		s.ok("RemoveDisk", s.d.RemoveDisk(ctx, m.UUID, m.CD))
		s.trace(m.UUID, hyper.Trace{UUID: m.UUID, Defined: true, Disks: []string{"root"}, Seed: true})
	}
	s.ok("Start", s.d.Start(ctx, m.UUID))
	s.power(m.UUID, hyper.Running)
	s.ok("Remove", s.d.Remove(ctx, m.UUID))
	s.clean(m.UUID)
}

// says waits until the machine's console has the text.
func (s suite) says(m hyper.Machine, text string) {
	s.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		out, err := s.d.Console(context.Background(), m.UUID, 4096)
		s.ok("Console", err)
		if strings.Contains(string(out), text) {
			return
		}
	}
	s.Errorf("the console never has %q", text)
}
