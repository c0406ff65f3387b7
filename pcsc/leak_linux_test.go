package pcsc_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/pcsc/pcsctest"
)

// TestNoCopyOfACommandStays searches this process and pcscd for a PIN that was
// sent. What is sought is kept in a page that is not searched.
func TestNoCopyOfACommandStays(t *testing.T) {
	p := pcsctest.Start(t, pcsctest.Options{})
	s := newService(t, pcsc.Config{})
	r := p.Reader("Inkan Test")
	card := newCard("A")
	inserted(t, s, r, card)
	c := connect(t, s, r)

	command, sought := page(t), page(t)
	const header, length = 5, 32
	if _, err := rand.Read(sought[:length]); err != nil {
		t.Fatal(err)
	}
	copy(command, "\x00\x20\x00\x80\x20")
	copy(command[header:], sought[:length])
	if _, err := c.Transmit(t.Context(), command[:header+length]); err != nil {
		t.Fatal(err)
	}
	if logins, _ := card.count(); logins != 1 {
		t.Fatalf("the card saw %d PINs, want 1", logins)
	}
	if n := copies(t, os.Getpid(), sought[:length], sought, page(t)); n != 1 {
		t.Errorf("found %d copies before the command was wiped, want that one: the search does not work", n)
	}
	clear(command)
	if n := copies(t, os.Getpid(), sought[:length], sought, page(t)); n != 0 {
		t.Errorf("%d copies are in this process", n)
	}
	// pcscd keeps the last command until the reset, which comes after each use.
	t.Logf("%d copies are in pcscd before the reset", copies(t, p.PID(), sought[:length], nil, page(t)))
	if err := c.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := copies(t, p.PID(), sought[:length], nil, page(t)); n != 0 {
		t.Errorf("%d copies are in pcscd after the reset", n)
	}
}

// page returns a page outside of Go's heap.
func page(t *testing.T) []byte {
	t.Helper()
	b, err := syscall.Mmap(-1, 0, 1<<16, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(b) })
	return b
}

// copies counts what is sought in the memory of a process, but for the pages
// except. It reads through window, and wipes it.
func copies(t *testing.T, pid int, sought, except, window []byte) int {
	t.Helper()
	defer clear(window)
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	found := 0
	for lines := bufio.NewScanner(bytes.NewReader(maps)); lines.Scan(); {
		var from, to int64
		var mode string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &mode); err != nil || !strings.HasPrefix(mode, "rw") {
			continue
		}
		found += within(memory, from, to, sought, window, address(window), address(except))
	}
	return found
}

func address(b []byte) int64 { return int64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }

// within searches a range window by window, overlapping, without the pages
// that begin at skip, which are as long as the window.
func within(memory *os.File, from, to int64, sought, window []byte, skip ...int64) int {
	found, size := 0, int64(len(window))
	for at := from; at < to; {
		length := min(size, to-at)
		for _, start := range skip {
			switch {
			case at >= start && at < start+size:
				at, length = start+size, 0
			case at < start && at+length > start:
				length = min(length, start-at)
			}
		}
		if length == 0 {
			continue
		}
		n, err := memory.ReadAt(window[:length], at)
		found += bytes.Count(window[:n], sought)
		overlap := int64(len(sought)) - 1
		if err != nil || int64(n) <= overlap || at+int64(n) >= to {
			at += max(int64(n), overlap+1)
			continue
		}
		at += int64(n) - overlap
	}
	return found
}
