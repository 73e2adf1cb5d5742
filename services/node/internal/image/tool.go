package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"slipway.dev/pkg/crash"
	"slipway.dev/pkg/durable"
	"slipway.dev/services/node/internal/hyper"
)

// Tool is a qemu-img.
type Tool struct{ path string }

// Find looks for qemu-img in the system's directories, not in PATH.
func Find() (Tool, error) {
	path, err := Lookup("qemu-img", "qemu-utils")
	return Tool{path}, err
}

// Lookup finds a system program; the fault names the Debian package that has it.
func Lookup(name, pkg string) (string, error) {
	for _, dir := range []string{"/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin", "/usr/local/sbin"} {
		path := filepath.Join(dir, name)
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", hyper.ErrNoTool.With("%s is not installed (Debian package %s)", name, pkg)
}

// Base is a template that a disk starts from. Both fields come from our own template store.
type Base struct {
	Path   string
	Format string
}

// Create makes an empty qcow2, or an overlay if base is set. The file gets its final name only once its content is on the disk.
func (t Tool) Create(ctx context.Context, path string, size int64, base *Base, adopt func(*os.File) error) error {
	tmp := path + ".partial"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove half-made disk: %w", err)
	}
	args := []string{"create", "-q", "-f", QCOW2}
	if base != nil {
		// -u: the base was inspected when it was installed; qemu-img need not open it.
		args = append(args, "-u", "-F", base.Format, "-b", base.Path)
	}
	if err := t.run(ctx, append(args, "--", tmp, strconv.FormatInt(size, 10))...); err != nil {
		_ = os.Remove(tmp)
		return err
	}
	return Commit(tmp, path, adopt)
}

// Resize grows a qcow2 that no machine has open.
func (t Tool) Resize(ctx context.Context, path string, size int64) error {
	return t.run(ctx, "resize", "-q", "-f", QCOW2, "--", path, strconv.FormatInt(size, 10))
}

func (t Tool) run(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, t.path, args...)
	cmd.Env = []string{"LC_ALL=C", "PATH=/usr/bin:/bin"}
	cmd.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		text := strings.TrimSpace(out.String())
		err = fmt.Errorf("qemu-img %s: %w: %.500s", args[0], err, text)
		if strings.Contains(text, syscall.ENOSPC.Error()) || strings.Contains(text, "No space left") {
			return hyper.ErrNoSpace.Wrap(err)
		}
		return err
	}
	return nil
}

// Crash points of a file: complete without its final name, and with it.
var (
	pointWhole = crash.At("node.file.whole")
	pointNamed = crash.At("node.file.named")
)

// Commit gives a finished file its final name. adopt sets owner and mode; the content, the name and the directory are on the disk
// when Commit returns.
func Commit(tmp, path string, adopt func(*os.File) error) (err error) {
	defer func() {
		if err != nil {
			_ = os.Remove(tmp)
		}
	}()
	f, err := os.OpenFile(tmp, os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	if adopt != nil {
		err = adopt(f)
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("finish %s: %w", filepath.Base(path), err)
	}
	pointWhole.Hit()
	if err := durable.Rename(tmp, path); err != nil {
		return err
	}
	pointNamed.Hit()
	return nil
}
