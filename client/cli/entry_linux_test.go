package cli

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/inkan-project/inkan/client"
)

func TestReadLineTakesThePINAndNothingElse(t *testing.T) {
	long := strings.Repeat("x", 64)
	for _, tc := range []struct {
		name, in, want, rest string
		err                  error
	}{
		{"to the end", "123456", "123456", "", nil},
		{"one newline is stripped", "123456\n", "123456", "", nil},
		{"CR LF is stripped", "123456\r\n", "123456", "", nil},
		{"only the first line is taken", "123456\nmore", "123456", "more", nil},
		{"blanks stay", " 12 ", " 12 ", "", nil},
		{"nothing", "", "", "", nil},
		{"an empty line", "\n", "", "", nil},
		{"an empty line with CR", "\r\n", "", "", nil},
		{"a CR inside stays", "1\r2\n", "1\r2", "", nil},
		{"64 bytes", long, long, "", nil},
		{"64 bytes and a newline", long + "\n", long, "", nil},
		{"63 bytes, CR LF", long[1:] + "\r\n", long[1:], "", nil},
		{"65 bytes are not cut", long + "y\n", "", "\n", errTooLong},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if _, err := w.WriteString(tc.in); err != nil {
				t.Fatal(err)
			}
			_ = w.Close()
			in, err := newInterruptible(t.Context(), int(r.Fd()))
			if err != nil {
				t.Fatal(err)
			}
			defer in.close()
			buf := make([]byte, 64)
			n, err := readLine(in, buf)
			if !errors.Is(err, tc.err) || string(buf[:n]) != tc.want {
				t.Errorf("got %q, %v; want %q, %v", buf[:n], err, tc.want, tc.err)
			}
			rest := make([]byte, 16)
			m, _ := r.Read(rest)
			if string(rest[:m]) != tc.rest {
				t.Errorf("%q is left to read, want %q", rest[:m], tc.rest)
			}
		})
	}
}

func TestReadingEndsWithItsContext(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	in, err := newInterruptible(ctx, int(r.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer in.close()
	go cancel()
	if _, err := readLine(in, make([]byte, 64)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestADescriptorIsUsedOnceAndOnlyIfItWasInherited(t *testing.T) {
	r, w, err := os.Pipe() // Go's own: close-on-exec
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if _, err := newFDSource(int(r.Fd())); err == nil {
		t.Error("took a descriptor that this process opened itself")
	}
	if _, err := newFDSource(1 << 20); err == nil {
		t.Error("took a descriptor that is not open")
	}
}

func TestADescriptorThatCannotBeReadIsAMistakeOfTheCommandLine(t *testing.T) {
	fd, err := unix.Open(t.TempDir(), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	source := &fdSource{fd} // which closes it
	_, err = source.PIN(t.Context(), client.Prompt{}, make([]byte, 64))
	m, ok := errors.AsType[*mistake](err)
	if !ok || exitOf(err) != exitUsage || !strings.Contains(m.en, "the PIN cannot be read: it is a folder") || !strings.Contains(m.ja, "暗証番号を読めません") {
		t.Errorf("got %#v, want a mistake with exit code 2", err)
	}
}
