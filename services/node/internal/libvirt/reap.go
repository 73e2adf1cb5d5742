package libvirt

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// adopt makes this process the parent of orphaned qemus, and reaps them, as long as it runs.
//
// An embedded libvirt starts qemu as a daemon and, to stop qemu, waits until it is gone from the process table. Init has to reap
// it, which never happens if this process is init (in a container), and takes seconds if init is slow.
var adopt = sync.OnceValue(func() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become reaper: %w", err)
	}
	go reap()
	return nil
})

// reap reaps qemus that have ended. Other children are left to the code that waits for them.
func reap() {
	died := make(chan os.Signal, 1)
	signal.Notify(died, syscall.SIGCHLD)
	tick := time.NewTicker(time.Second) // for what a burst of signals hid
	for {
		select {
		case <-died:
		case <-tick.C:
		}
		if firstDead() == 0 {
			continue
		}
		// Look at all processes: a dead child without a waiter must not hide a qemu after it, because libvirt would wait for
		// that qemu for a minute or more.
		for _, pid := range processes() {
			if orphanedQEMU(pid) {
				_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
			}
		}
	}
}

// processes lists all processes of the machine.
func processes() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1) // what could be read
	var pids []int
	for _, n := range names {
		if pid, err := strconv.Atoi(n); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// firstDead returns a child that has ended, without reaping it, or 0 if there is none.
func firstDead() int {
	var info [128]byte // siginfo_t; the pid lies at 16 where pointers have 64 bits
	_, _, errno := unix.Syscall6(unix.SYS_WAITID, unix.P_ALL, 0, uintptr(unsafe.Pointer(&info[0])),
		unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(int32(binary.NativeEndian.Uint32(info[16:]))) // #nosec G115 -- pid_t has a sign
}

// orphanedQEMU reports whether pid is a daemon that became our child, and not a child that we started: its session
// differs.
func orphanedQEMU(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	text := string(b)
	open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 0 || end < open || !strings.HasPrefix(text[open+1:end], "qemu-system") {
		return false
	}
	fields := strings.Fields(text[end+1:]) // state ppid pgrp session
	if len(fields) < 4 {
		return false
	}
	mine, err := unix.Getsid(0)
	return err == nil && fields[0] == "Z" && fields[1] == strconv.Itoa(os.Getpid()) && fields[3] != strconv.Itoa(mine)
}
