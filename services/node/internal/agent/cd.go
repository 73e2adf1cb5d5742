package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/google/uuid"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/fetch"
	"slipway.dev/services/node/internal/hyper"
)

// Bounds of the image of a CD, and of its download.
const (
	maxCD       = 16 << 30
	fetchTime   = 50 * time.Minute // less than vm waits
	atOnce      = 4                // downloads of one node; others wait
	atOnceOfOne = 2                // of those, downloads of one account
	spareShare  = 20               // a twentieth of the storage stays free
	lookAtSpace = 64 << 20         // bytes between looks at the free storage
)

// FetchCD downloads the image of a CD. The download holds up no other command of the machine, and none of the node: the command
// has its place among them when it comes, and again when the whole file is moved to the machine.
func (a *Agent) FetchCD(ctx context.Context, r *nodepb.FetchCDRequest) (*nodepb.FetchCDResponse, error) {
	id, err := machineID(r.GetCommand().GetMachine())
	if err != nil {
		return nil, err
	}
	if err := hyper.CheckDiskName(r.GetName()); err != nil {
		return nil, err
	}
	nothing := func(context.Context) error { return nil }
	if err := a.journal.Do(ctx, id, orderOf(r.GetCommand()), nothing); err != nil {
		return nil, err
	}
	if r.GetUpload() != "" {
		return &nodepb.FetchCDResponse{}, a.command(ctx, atCD, r.GetCommand(), func(ctx context.Context, id uuid.UUID) error {
			return a.insertUpload(ctx, id, r.GetName(), r.GetUpload())
		})
	}
	path, size, err := a.downloads.fetch(ctx, r.GetAccount(), r.GetUrl())
	if err != nil {
		return nil, err
	}
	defer os.Remove(path) // gone already when all went well
	err = a.command(ctx, atCD, r.GetCommand(), func(ctx context.Context, id uuid.UUID) error {
		return a.driver.AddCD(ctx, id, r.GetName(), path)
	})
	return &nodepb.FetchCDResponse{SizeMib: clamp.Int32(size>>20 + 1)}, err
}

// insertUpload moves an uploaded image to its machine. It may run again after it succeeded.
func (a *Agent) insertUpload(ctx context.Context, id uuid.UUID, name, upload string) error {
	x, err := a.uploads.find(id, upload)
	switch {
	case err != nil && a.hasDisk(ctx, id, name):
		return nil
	case err != nil:
		return err
	}
	if err := a.driver.AddCD(ctx, id, name, x.path); err != nil {
		return err
	}
	a.uploads.forget(id, x)
	return nil
}

// hasDisk reports whether a machine is known to have a complete disk or CD of this name.
func (a *Agent) hasDisk(ctx context.Context, id uuid.UUID, name string) bool {
	list, err := a.driver.Traces(ctx)
	return err == nil && slices.ContainsFunc(list, func(t hyper.Trace) bool { return t.UUID == id && slices.Contains(t.Disks, name) })
}

// downloads are the files that are on their way to the node.
type downloads struct {
	dir   string
	web   *fetch.Client
	slots *slots
}

func newDownloads(dir string, reach fetch.Config) *downloads {
	reach.Plain = true
	return &downloads{dir, fetch.New(reach), newSlots(atOnce, atOnceOfOne)}
}

// fetch downloads the image of a CD for an account into a file and returns the file's path and size in bytes.
func (d *downloads) fetch(ctx context.Context, account int32, address string) (path string, size int64, err error) {
	free, err := d.slots.take(ctx, account)
	if err != nil {
		return "", 0, err
	}
	defer free()
	ctx, stop := context.WithTimeoutCause(ctx, fetchTime, fetch.ErrFailed.With("the download took longer than %s", fetchTime))
	defer stop()
	f, err := os.CreateTemp(d.dir, "*.iso")
	if err != nil {
		return "", 0, spaceOf(err)
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	web, err := d.web.Open(ctx, address)
	if err != nil {
		return "", 0, lateOr(ctx, err)
	}
	defer web.Close()
	if web.Size > maxCD {
		return "", 0, tooLarge(fetch.ErrFailed)
	}
	if size, err = d.copy(f, web, fetch.ErrFailed); err != nil {
		return "", 0, lateOr(ctx, err)
	}
	if web.Size >= 0 && size != web.Size {
		return "", 0, fetch.ErrFailed.With("the file's server sent %d of %d bytes", size, web.Size)
	}
	return f.Name(), size, checkCD(f, fetch.ErrFailed)
}

// tooLarge returns refusal with the largest size that an image may have.
func tooLarge(refusal *fault.Fault) error {
	return refusal.With("the file is larger than %d GiB", maxCD>>30)
}

// lateOr returns the reason why a download was ended, or else err.
func lateOr(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, fetch.ErrFailed) {
		return cause
	}
	return err
}

// copy copies a file that comes, as long as the storage has room. It returns refusal for a file that is too large.
func (d *downloads) copy(to *os.File, from io.Reader, refusal *fault.Fault) (size int64, err error) {
	for more := true; more; {
		if err := d.room(); err != nil {
			return 0, err
		}
		n, err := io.CopyN(to, from, lookAtSpace)
		size += n
		switch {
		case errors.Is(err, io.EOF):
			more = false
		case err != nil:
			return 0, spaceOf(err)
		case size > maxCD:
			return 0, tooLarge(refusal)
		}
	}
	return size, nil
}

// room returns ErrNoSpace when little of the storage is free.
func (d *downloads) room() error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(d.dir, &fs); err != nil {
		return fmt.Errorf("free storage: %w", err)
	}
	if fs.Bavail < fs.Blocks/spareShare {
		return hyper.ErrNoSpace.With("less than %d %% of the node's storage is free", 100/spareShare)
	}
	return nil
}

func spaceOf(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return hyper.ErrNoSpace.Wrap(err)
	}
	return err
}

// checkCD returns refusal for a file that is no image of a CD or DVD: the 17th sector of an image begins a list of descriptors of
// ISO 9660 (ECMA-119, 8.1) or of UDF (ECMA-167, 2/9.1).
func checkCD(f *os.File, refusal *fault.Fault) error {
	const sector = 2048
	var head [6]byte
	if _, err := f.ReadAt(head[:], 16*sector); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if id := head[1:]; !bytes.Equal(id, []byte("CD001")) && !bytes.Equal(id, []byte("BEA01")) {
		return refusal.With("the file is no image of a CD or DVD")
	}
	return nil
}
