package p11

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestTheCageIsOnNoThreadThatStays: what is in it could not be kept apart from
// the modules, nor write where this process must.
func TestTheCageIsOnNoThreadThatStays(t *testing.T) {
	first := 0 // how often the first thread would have been taken
	for range 500 {
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			if unix.Gettid() != unix.Getpid() {
				return
			}
			first++
			onOtherThread(func() {
				if unix.Gettid() == unix.Getpid() {
					t.Error("on the first thread")
				}
			})
		}()
		<-done
		if _, err := confined(nil, func() error {
			if unix.Gettid() == unix.Getpid() {
				return fmt.Errorf("on the first thread")
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if first == 0 {
		t.Log("the first thread never came up: little is shown") // it is for Go to say which
	}
	end, tick := time.Now().Add(10*time.Second), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for {
		in := caged(t)
		if len(in) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("still in the cage: %v", in)
		}
		<-tick.C
	}
}

// caged returns the threads of this process that are in the cage.
func caged(t *testing.T) (all []string) {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		status, err := os.ReadFile(task)
		if err == nil && bytes.Contains(status, []byte("\nNoNewPrivs:\t1\n")) {
			all = append(all, task)
		}
	}
	return all
}
