package loadtest_test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
)

// How the program of a user who means harm is told what to do.
const (
	attackVariable = "INKAN_LOADTEST_ATTACK"
	socketVariable = "INKAN_LOADTEST_SOCKET"
	timeVariable   = "INKAN_LOADTEST_TIME"
)

func TestMain(m *testing.M) {
	name := os.Getenv(attackVariable)
	if name == "" {
		os.Exit(m.Run())
	}
	took, err := time.ParseDuration(os.Getenv(timeVariable))
	attack, ok := attacks()[name]
	if err != nil || !ok {
		fmt.Fprintln(os.Stderr, "no such attack:", name, err)
		os.Exit(2)
	}
	a := &attacker{path: os.Getenv(socketVariable), until: time.Now().Add(took)}
	fmt.Println("begun")
	a.run(attack.connections, attack.do)
	fmt.Println(a.conns.Load(), a.did.Load())
}

// slack is how much more than the goal, that p99 at most doubles, is a
// violation: the machine does other things (docs/testing.md).
const slack = 2

// TestF12 does to the socket what no library does, as another user in a process
// of its own, while an honest user signs with a card as slow as cards are. The
// reference is the same beside a program that only computes, before each.
func TestF12(t *testing.T) {
	b := newBoard(t)
	h := newHouse(t, 1, pivcard.Behaviour{DelayMS: 10})
	key := h.keys(t, "9e")[0]
	n := pick(10, 20, 200, 1000)
	program := copyForAll(t)
	alone := quantile(honest(t, h, key, 10), 0.5)
	first := levelNow(t)
	beside := func(name string, n int) (took []time.Duration, conns, did int) {
		// As long as the honest calls take, even if each takes twice as long.
		ended := b.attack(program, h.Socket, name, time.Duration(n)*2*alone+time.Second/2)
		took = honest(t, h, key, n)
		conns, did = ended()
		return took, conns, did
	}
	var names []string
	var reference []time.Duration
	took, did := map[string][]time.Duration{}, map[string]int{}
	for name := range attacks() {
		if name == busy {
			continue
		}
		names = append(names, name)
		calm, _, _ := beside(busy, n/2)
		reference = append(reference, calm...)
		var conns int
		took[name], conns, did[name] = beside(name, n)
		b.faults += conns
		if resident := residentKB(t, os.Getpid(), "VmRSS"); resident > mostResidentKB {
			b.violation(11, "%s: %d KiB are resident", name, resident)
		}
		if did[name] == 0 {
			t.Errorf("%s: nothing was done", name)
		}
	}
	b.report(names, reference, took, did)
	b.back(first)
}

// report prints the numbers and judges them.
func (b *board) report(names []string, reference []time.Duration, took map[string][]time.Duration, did map[string]int) {
	calm := quantile(reference, 0.99)
	b.t.Logf("%-26s p50 %8v  p99 %8v", busy, rounded(quantile(reference, 0.5)), rounded(calm))
	slices.Sort(names)
	for _, name := range names {
		tail := quantile(took[name], 0.99)
		b.t.Logf("%-26s p50 %8v  p99 %8v  (%.2f x, goal 2)  done %d times", name,
			rounded(quantile(took[name], 0.5)), rounded(tail), float64(tail)/float64(calm), did[name])
		if tail > 2*slack*calm {
			b.violation(11, "%s: p99 of honest calls is %v, %v beside a program that only computes", name, tail, calm)
		}
	}
	b.t.Logf("resident %d MiB", residentKB(b.t, os.Getpid(), "VmRSS")>>10)
}

func rounded(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

// copyForAll returns a copy of this program that every user can run.
func copyForAll(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(shared, "inkan-load")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	self, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(dir+"/program", self, 0o700)
	}
	for _, path := range []string{dir, dir + "/program"} { // whatever the umask
		if err == nil {
			err = os.Chmod(path, 0o755)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir + "/program"
}

// attack starts an attack; what it returns waits for its end, and says how many
// connections were opened and how often something was done.
func (b *board) attack(program, socket, name string, took time.Duration) (ended func() (conns, did int)) {
	b.t.Helper()
	cmd := exec.CommandContext(b.t.Context(), program)
	cmd.Dir = "/"
	cmd.Env = []string{attackVariable + "=" + name, socketVariable + "=" + socket, timeVariable + "=" + took.String(), "GOMAXPROCS=1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: 30001, Gid: signerGID, NoSetGroups: true}, Pdeathsig: syscall.SIGKILL,
	}
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, b.t.Output()
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	return func() (conns, did int) {
		if err := cmd.Wait(); err != nil {
			b.t.Fatalf("%s: %v", name, err)
		}
		if _, err := fmt.Sscanf(said.String(), "begun\n%d %d", &conns, &did); err != nil {
			b.t.Fatalf("%s said %q", name, said.String())
		}
		return conns, did
	}
}
