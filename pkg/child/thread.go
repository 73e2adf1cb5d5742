// Package child runs server programs that end with this process, as users without privileges.
package child

import (
	"os/exec"
	"runtime"
)

// OnThread calls f on an operating system thread that no other goroutine uses, and returns once f has returned. f starts a
// child with Pdeathsig and waits for its end: the kernel sends that signal when the thread that started the child ends, not
// only when the process does, and any thread of the process may end beside us, with a goroutine that locked it.
func OnThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread() // after the child's end: the thread may serve others again
		f()
	}()
	<-done
}

// Output runs a short program to its end on a thread of its own and returns what the program wrote.
func Output(cmd *exec.Cmd) (out []byte, err error) {
	OnThread(func() { out, err = cmd.CombinedOutput() })
	return out, err
}
