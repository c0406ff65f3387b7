package stepper_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/inkan-project/inkan/daemon/faults/stepper"
)

func TestTheStepperLeavesOtherProcessesAlone(t *testing.T) {
	for range 20 { // some on the thread that traces next
		other := exec.CommandContext(t.Context(), "true")
		if err := other.Start(); err != nil {
			t.Fatal(err)
		}
		p, err := stepper.Start(exec.CommandContext(t.Context(), "true"), func(stepper.Call) bool { return false })
		if err != nil {
			t.Fatal(err)
		}
		if status, err := p.Wait(); err != nil || !status.Exited() {
			t.Errorf("the stepped one ended with %v, %v", status, err)
		}
		if err := other.Wait(); err != nil {
			t.Fatalf("the other one: %v", err)
		}
	}
}

func TestTheStepperNumbersTheCallsOfAllThreads(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "echo one; echo two; echo three")
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout = out
	n := 0
	p, err := stepper.Start(cmd, func(c stepper.Call) bool {
		if c.Name == "write" && c.Path == out.Name() && !c.Ended {
			n++
		}
		return n == 3
	})
	if err != nil {
		t.Fatal(err)
	}
	status, err := p.Wait()
	if err != nil || !status.Signaled() {
		t.Errorf("it ended with %v, %v; want a signal", status, err)
	}
	if text, err := os.ReadFile(out.Name()); err != nil || string(text) != "one\ntwo\n" {
		t.Errorf("it wrote %q, %v; want the first two lines", text, err)
	}
}
