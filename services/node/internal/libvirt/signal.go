//go:build libvirt_dlopen

package libvirt

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// undisturbed runs a call of libvirt that changes control groups on a thread to which no signals come. The kernel gives up loading
// a BPF program when one is pending (EAGAIN), an embedded libvirt does not try again, and Go's runtime sends signals to its
// threads. Programs that libvirt starts have no blocked signals.
func undisturbed(call func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, before unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^uint64(0)
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &before); err != nil {
		return err
	}
	defer func() { _ = unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil) }()
	return call()
}
