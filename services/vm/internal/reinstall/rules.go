// Package reinstall gives a host another main disk, which begins as an OS.
package reinstall

import (
	"fmt"
	"regexp"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
)

// errNotHere refuses an OS that the node of the host does not hold: hosts do not change their node for it.
var errNotHere = fault.New(codes.FailedPrecondition, "OS_NOT_ON_NODE", "the node of the host does not hold the OS")

// wish is what a request asks for.
type wish struct {
	OS, Image, Disk int32
	Password        string
}

// target is a host with the OS that it is to get, as it is on the host's node. What is missing is 0.
type target struct {
	OS      int32
	Ready   bool // the OS is not being imported any more
	SHA256  string
	MinRAM  int32
	MinDisk int32
	Disk    int32 // the main disk
	Name    string
	Size    int32 // of the main disk, MiB
	RAM     int32
}

// check refuses a request that no host could carry out.
func (w *wish) check() error {
	switch {
	case w.Image != 0:
		return fault.Invalid.With("there is no image %d", w.Image).On("image")
	case w.OS == 0:
		return fault.Invalid.With("required, the id of an OS template of GET /vm/v3/os").On("os")
	}
	return nil
}

// check refuses what can never succeed on this host.
func (t *target) check(w wish) error {
	switch {
	case t.OS == 0:
		return fault.Invalid.With("there is no OS %d", w.OS).On("os")
	case !t.Ready:
		return fault.Invalid.With("OS %d is being imported", w.OS).On("os")
	case t.SHA256 == "":
		return errNotHere.With("the node of the host does not hold OS %d", w.OS).On("os")
	case w.Disk != 0 && w.Disk != t.Disk:
		return fault.Invalid.With("disk %d is not the main disk of the host, which is disk %d", w.Disk, t.Disk).On("disk")
	case t.Size < t.MinDisk:
		return fault.Invalid.With("this OS needs a disk of at least %d MiB, the main disk has %d", t.MinDisk, t.Size).On("os")
	case t.RAM < t.MinRAM:
		return fault.Invalid.With("this OS needs at least %d MiB of memory, the host has %d", t.MinRAM, t.RAM).On("os")
	}
	return nil
}

// numbered is the end of the name of a disk that a reinstallation made.
var numbered = regexp.MustCompile(`-[0-9]+$`)

// next returns the name of the disk that a job makes in place of another one. No disk ever had it.
func next(name string, job int32) string {
	return fmt.Sprintf("%s-%d", numbered.ReplaceAllString(name, ""), job)
}
