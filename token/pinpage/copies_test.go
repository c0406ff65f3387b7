package pinpage

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/inkan-project/inkan/token"
)

// masked is a random PIN that stands nowhere in this process but in what is
// tested: only its bytes with all bits turned are kept.
type masked [token.PINCapacity]byte

func (m *masked) matches(b []byte) bool {
	for i := range m {
		if b[i] != ^m[i] {
			return false
		}
	}
	return true
}

// in counts the PIN in some bytes, and spoils it there: they are memory of this
// process, too, and will be searched.
func (m *masked) in(b []byte) int {
	count := 0
	for {
		at := bytes.IndexByte(b, ^m[0])
		if at < 0 || at+len(m) > len(b) {
			return count
		}
		if m.matches(b[at:]) {
			count++
			b[at] = 0
		}
		b = b[at+1:]
	}
}

// memfd writes the PIN byte by byte, so that no copy of it is made here.
func (m *masked) memfd(t *testing.T) int {
	t.Helper()
	fd := memfd(t, "")
	var one [1]byte
	for i := range m {
		one[0] = ^m[i]
		if _, err := unix.Pwrite(fd, one[:], int64(i)); err != nil {
			t.Fatal(err)
		}
	}
	return fd
}

// copies counts the PIN in all memory that this process can write and the
// kernel lets it read: pages of memfd_secret are not among it.
func (m *masked) copies(t *testing.T) int {
	t.Helper()
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = maps.Close() }()
	memory, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = memory.Close() }()
	count := 0
	chunk := make([]byte, 1<<20)
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var from, to int64
		var mode string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &mode); err != nil {
			continue // [vsyscall] is above an int64
		}
		if !strings.HasPrefix(mode, "rw") || to-from > 256<<20 { // larger: only reserved, by the race detector
			continue
		}
		for at := from; at < to; at += int64(len(chunk) - len(m)) {
			n, _ := memory.ReadAt(chunk[:min(int64(len(chunk)), to-at)], at)
			count += m.in(chunk[:n])
		}
	}
	clear(chunk)
	return count
}

func TestThePINGoesThroughNoOtherMemory(t *testing.T) {
	forEachKind(t, func(t *testing.T, s *Source) {
		var m masked
		_, _ = rand.Read(m[:]) // never fails (crypto/rand)
		m[0] = ^byte(0xA7)     // a byte that is rare in memory
		fd := m.memfd(t)
		pin, err := s.ReadFD(fd, len(m))
		if err != nil {
			t.Fatal(err)
		}
		command, err := pin.Command([]byte{0x00, 0x20, 0x00, 0x80, 0x08}, 0, 0)
		if err != nil || !m.matches(command[5:]) {
			t.Fatalf("the page does not hold the PIN (%v)", err)
		}
		want := 1 // in its page
		if s.Kind() == KindSecret {
			want = 0 // the kernel itself does not show it
		}
		if got := m.copies(t); got != want {
			t.Errorf("the PIN stands %d times in memory while in use, want %d", got, want)
		}
		pin.Wipe()
		if got := m.copies(t); got != 0 {
			t.Errorf("the PIN stands %d times in memory once it is wiped", got)
		}
	})
}

// TestRootIsNoJudgeOfLimits: root may lock as much as it wants, and so lets
// nobody run the test of it.
func TestRootIsNoJudgeOfLimits(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: TestWithoutLockableMemoryThereIsNoPIN ran itself")
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestWithoutLockableMemoryThereIsNoPIN$", "-test.v")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestWithoutLockableMemoryThereIsNoPIN/"+KindLocked) {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
}
