package child

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"
)

// TestChildOutlivesOtherThreads runs children with Pdeathsig while threads of this process end all the time, as they do
// when a goroutine ends that locked its thread. Started by any thread, several of the children are killed.
func TestChildOutlivesOtherThreads(t *testing.T) {
	stop := make(chan struct{})
	var churn, children sync.WaitGroup
	for range 4 {
		churn.Go(func() { endThreads(stop) })
	}
	for range 20 {
		children.Go(func() {
			for range 5 {
				cmd := exec.Command("sleep", "0.05")
				cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
				if _, err := Output(cmd); err != nil {
					t.Errorf("a child was ended by the end of a thread: %v", err)
				}
			}
		})
	}
	children.Wait()
	close(stop)
	churn.Wait()
}

// endThreads makes one thread after the other end.
func endThreads(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			runtime.LockOSThread() // never unlocked, so the thread ends with this goroutine
		}()
		<-ended
	}
}
