// Package accel finds out whether KVM works here by booting a tiny guest: a /dev/kvm that can be opened may still be broken.
package accel

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"slipway.dev/pkg/durable"
	"slipway.dev/services/node/internal/hyper"
	"slipway.dev/services/node/internal/image"
)

// probe.bin is probe.S assembled: 512 bytes, see there.
//
//go:embed probe.bin
var guest []byte

// passed is the output of a guest that succeeded, and exitCode the exit code of its qemu (isa-debug-exit: value*2+1).
const (
	passed   = "RLEIX"
	exitCode = 0x10<<1 | 1
	patience = 3 * time.Second
)

var steps = map[byte]string{
	'R': "long mode", 'L': "an exception", 'E': "a timer interrupt", 'I': "a busy loop", 'X': "the end",
}

// Result is the outcome of a probe.
type Result struct {
	Accel  hyper.Accel `json:"accel"`
	Reason string      `json:"reason"`
	// Key identifies the boot, kernel and qemu of the probe; after a change of them the probe is repeated.
	Key string `json:"key"`
}

// Choose returns want if it is explicit. Otherwise it returns KVM if the probe guest succeeds, else TCG, and stores the result
// in root/accel.json.
func Choose(ctx context.Context, want, qemu, root string) (Result, error) {
	switch want {
	case string(hyper.AccelKVM), string(hyper.AccelTCG):
		return Result{Accel: hyper.Accel(want), Reason: "set by the administrator"}, nil
	case "", "auto":
	default:
		return Result{}, hyper.ErrInvalid.With("accelerator %q is not one of auto, kvm, tcg", want).On("accel")
	}
	path, key := filepath.Join(root, "accel.json"), key(qemu)
	if b, err := os.ReadFile(path); err == nil {
		var r Result
		if json.Unmarshal(b, &r) == nil && r.Key == key && r.Accel != "" {
			return r, nil
		}
	}
	r := Probe(ctx, qemu)
	if err := ctx.Err(); err != nil {
		return Result{}, err // cut short: not a finding
	}
	r.Key = key
	b, err := json.Marshal(r)
	if err != nil {
		return Result{}, err
	}
	if err := durable.Replace(path, b, 0o600); err != nil {
		return Result{}, fmt.Errorf("keep accelerator: %w", err)
	}
	return r, nil
}

// Probe boots the guest under KVM. After any failure it returns TCG with the reason.
func Probe(ctx context.Context, qemu string) Result {
	kvm, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return Result{Accel: hyper.AccelTCG, Reason: "/dev/kvm does not open: " + err.Error()}
	}
	_ = kvm.Close()
	if err := boot(ctx, qemu, hyper.AccelKVM); err != nil {
		return Result{Accel: hyper.AccelTCG, Reason: "/dev/kvm is there, but a guest does not get through: " + err.Error()}
	}
	return Result{Accel: hyper.AccelKVM, Reason: "a guest booted"}
}

// boot runs the guest to its end. It gives up early when qemu reports that KVM broke down.
func boot(ctx context.Context, qemu string, a hyper.Accel) error {
	disk, err := os.CreateTemp("", "slipway-probe-*.img")
	if err != nil {
		return err
	}
	defer os.Remove(disk.Name())
	_, err = disk.Write(guest)
	if err := errors.Join(err, disk.Close()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, qemu, "-accel", string(a), "-M", "pc", "-m", "16", "-nodefaults", "-no-user-config",
		"-display", "none", "-no-reboot", "-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
		"-drive", "if=ide,format=raw,snapshot=on,file="+strings.ReplaceAll(disk.Name(), ",", ",,"))
	cmd.WaitDelay = time.Second
	var said bytes.Buffer
	complaint := &watch{word: "KVM internal error", found: cancel}
	cmd.Stdout, cmd.Stderr = &said, complaint
	err = cmd.Run()
	if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == exitCode && said.String() == passed {
		return nil
	}
	var why string
	switch {
	case complaint.hit:
		why = complaint.word
	case ctx.Err() != nil:
		why = fmt.Sprintf("it hangs (%s)", patience)
	default:
		why = fmt.Sprintf("%v: %.200s", err, strings.TrimSpace(complaint.text.String()))
	}
	if n := said.Len(); n > 0 {
		if step := steps[said.Bytes()[n-1]]; step != "" {
			why = "at " + step + ": " + why
		}
	}
	return errors.New(why)
}

// watch stores its input and calls found when word appears.
type watch struct {
	word  string
	found func()
	hit   bool
	text  bytes.Buffer
}

func (w *watch) Write(p []byte) (int, error) {
	if w.text.Len() < 64<<10 {
		w.text.Write(p)
	}
	if !w.hit && strings.Contains(w.text.String(), w.word) {
		w.hit = true
		w.found()
	}
	return len(p), nil
}

// Find looks for the emulator.
func Find() (string, error) { return image.Lookup("qemu-system-x86_64", "qemu-system-x86") }

func key(qemu string) string {
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	var stamp string
	if st, err := os.Stat(qemu); err == nil {
		stamp = st.ModTime().UTC().Format(time.RFC3339)
	}
	return strings.TrimSpace(string(boot)) + " " + qemu + " " + stamp
}
