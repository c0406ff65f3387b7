package client_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/client/internal/clientfake"
)

func countFDs(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}

func TestNothingIsLeftAfterClose(t *testing.T) {
	dir := t.TempDir()
	round := func() {
		fake, err := clientfake.Start(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer fake.Stop()
		for _, source := range []client.PINSource{digits(6), digits(0), nil, sourceFunc(func(context.Context, client.Prompt, []byte) (int, error) {
			return 0, errors.New("no")
		})} {
			c, err := client.Dial(t.Context(), client.Options{Socket: fake.Socket, PIN: source})
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				_, _ = c.VerifyPIN(t.Context(), clientfake.CardID)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	round() // opens what stays: the poller, random numbers
	fds := countFDs(t)
	for range 5 {
		round()
	}
	if got := countFDs(t); got != fds {
		t.Errorf("%d descriptors are open, %d before", got, fds)
	}
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	if strings.Contains(string(stacks), "client.(*agent)") {
		t.Errorf("a goroutine of the agent is left:\n%s", stacks)
	}
}

func TestThePINIsInLockedMemoryOnlyAndWiped(t *testing.T) {
	fake := startFake(t)
	fill := func(b []byte) int { // a PIN that stands nowhere in the program
		for i := range markerLength {
			b[i] = marker(i)
		}
		return markerLength
	}
	locked := 0
	c := dial(t, fake, client.Options{PIN: sourceFunc(func(_ context.Context, _ client.Prompt, buf []byte) (int, error) {
		locked = lockedKB(t)
		return fill(buf), nil
	})})
	for range 20 {
		if _, err := c.VerifyPIN(t.Context(), clientfake.CardID); !errors.Is(err, client.ErrPINMalformed) {
			t.Fatalf("got %v, want ErrPINMalformed: 32 bytes", err)
		}
	}
	if locked*1024 < os.Getpagesize() {
		t.Errorf("%d kB were locked while the PIN was entered, want a page", locked)
	}
	if n := copiesInMemory(t); n != 0 {
		t.Errorf("the PIN stands %d times in memory after 20 calls", n)
	}
	control := make([]byte, markerLength)
	t.Cleanup(func() { clear(control) }) // also keeps it alive, and in the heap
	fill(control)
	if copiesInMemory(t) == 0 {
		t.Error("the search does not find a PIN that is there: the test proves nothing")
	}
}

const markerLength = 32

// marker is byte i of the PIN that copiesInMemory looks for.
func marker(i int) byte { return byte('!' + (i*i*7+i*13+5)%90) }

// copiesInMemory counts the PIN in all memory that this process can write.
func copiesInMemory(t *testing.T) int {
	t.Helper()
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	defer maps.Close() // only read
	memory, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close() // only read
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
		for at := from; at < to; at += int64(len(chunk) - markerLength) {
			n, _ := memory.ReadAt(chunk[:min(int64(len(chunk)), to-at)], at)
			count += copiesIn(chunk[:n])
		}
	}
	return count
}

func copiesIn(b []byte) int {
	count := 0
	for {
		at := bytes.IndexByte(b, marker(0))
		if at < 0 || at+markerLength > len(b) {
			return count
		}
		i := 1
		for i < markerLength && b[at+i] == marker(i) {
			i++
		}
		if i == markerLength {
			count++
		}
		b = b[at+1:]
	}
}

// lockedKB returns VmLck of this process (proc_pid_status(5)).
func lockedKB(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmLck:")
	var kb int
	if _, err := fmt.Sscanf(rest, "%d kB", &kb); err != nil {
		t.Fatal(err)
	}
	return kb
}
