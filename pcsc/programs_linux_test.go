package pcsc_test

import (
	"slices"
	"testing"
	"time"

	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/pcsc/pcsctest"
)

func TestProgramThatHasACardIsNamed(t *testing.T) {
	p := pcsctest.Start(t, pcsctest.Options{})
	s := newService(t, pcsc.Config{})
	await(t, s, "a reader", present(p.Reader("Inkan Test").Name, false))
	if programs, err := s.Programs(); err != nil || len(programs) != 0 {
		t.Fatalf("we alone: %+v, %v; want none", programs, err)
	}
	other := p.Command(t.Context(), "opensc-tool", "--wait", "--reader", p.Reader("Inkan Test").Name, "--atr")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = other.Process.Kill()
		_ = other.Wait()
	})
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		programs, err := s.Programs()
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(programs, func(q pcsc.Program) bool {
			return q.PID == other.Process.Pid && q.Name == "opensc-tool"
		}) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("programs: %+v, want opensc-tool with id %d", programs, other.Process.Pid)
		}
	}
}
