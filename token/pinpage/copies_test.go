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
type masked []byte

// newMasked returns a random PIN of so many bytes.
func newMasked(length int) masked {
	m := make(masked, length)
	_, _ = rand.Read(m) // never fails (crypto/rand)
	m[0] = ^byte(0xA7)  // a byte that is rare in memory
	return m
}

func (m masked) matches(b []byte) bool {
	for i := range m {
		if b[i] != ^m[i] {
			return false
		}
	}
	return true
}

// in counts the PIN in some bytes, and spoils it there: they are memory of this
// process, too, and will be searched.
func (m masked) in(b []byte) int {
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
func (m masked) memfd(t *testing.T) int {
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
func (m masked) copies(t *testing.T) int {
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
		for at := from; at < to; at += int64(len(chunk) - len(m) + 1) {
			n, _ := memory.ReadAt(chunk[:min(int64(len(chunk)), to-at)], at)
			count += m.in(chunk[:n])
		}
	}
	clear(chunk)
	return count
}

// read has a source read the PIN.
func (m masked) read(t *testing.T, s *Source) *token.PIN {
	t.Helper()
	pin, err := s.ReadFD(m.memfd(t), len(m))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pin.Wipe)
	return pin
}

// inPage is how often what stands in one page of this kind can be found: the
// kernel itself does not show a secret one.
func (s *Source) inPage() int {
	if s.Kind() == KindSecret {
		return 0
	}
	return 1
}

func TestThePINGoesThroughNoOtherMemory(t *testing.T) {
	forEachKind(t, func(t *testing.T, s *Source) {
		m := newMasked(token.PINCapacity)
		pin := m.read(t, s)
		command, err := pin.Command([]byte{0x00, 0x20, 0x00, 0x80, 0x08}, 0, 0)
		if err != nil || !m.matches(command[5:]) {
			t.Fatalf("the page does not hold the PIN (%v)", err)
		}
		if got, want := m.copies(t), s.inPage(); got != want {
			t.Errorf("the PIN stands %d times in memory while in use, want %d", got, want)
		}
		pin.Wipe()
		if got := m.copies(t); got != 0 {
			t.Errorf("the PIN stands %d times in memory once it is wiped", got)
		}
	})
}

// TestACopyOfThePINIsFound: otherwise the tests that find none say nothing.
func TestACopyOfThePINIsFound(t *testing.T) {
	forEachKind(t, func(t *testing.T, s *Source) {
		m := newMasked(8)
		pin := m.read(t, s)
		command, err := pin.Command(nil, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		leak := bytes.Clone(command)
		// Copying may itself leave a copy of so short a PIN, in a register that
		// is saved on the stack.
		if got, want := m.copies(t), s.inPage()+1; got < want {
			t.Errorf("PIN and one copy on the heap: %d found, want %d", got, want)
		}
		clear(leak)
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
