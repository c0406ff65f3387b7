package ttyprompt

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
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
		{"65 bytes are not cut", long + "y\n", "", "\n", ErrTooLong},
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
			in, err := NewReader(t.Context(), int(r.Fd()))
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			buf := make([]byte, 64)
			n, err := in.Line(buf)
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
	in, err := NewReader(ctx, int(r.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	go cancel()
	if _, err := in.Line(make([]byte, 64)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}
