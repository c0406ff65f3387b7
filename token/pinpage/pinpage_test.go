package pinpage

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/inkan-project/inkan/token"
)

// forEachKind runs a test with both kinds of page.
func forEachKind(t *testing.T, test func(t *testing.T, s *Source)) {
	t.Helper()
	for _, kind := range []string{KindSecret, KindLocked} {
		t.Run(kind, func(t *testing.T) {
			s, err := Open(kind)
			if errors.Is(err, unix.ENOSYS) && kind == KindSecret {
				t.Skip("this kernel has no memfd_secret (docs/testing.md)")
			}
			if err != nil {
				t.Fatalf("Open(%q): %v", kind, err)
			}
			if s.Kind() != kind {
				t.Fatalf("Kind = %q, want %q", s.Kind(), kind)
			}
			test(t, s)
		})
	}
}

// memfd returns an ordinary memfd with these contents.
func memfd(t *testing.T, contents string) int {
	t.Helper()
	fd, err := unix.MemfdCreate("pin", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatalf("MemfdCreate: %v", err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if n, err := unix.Pwrite(fd, []byte(contents), 0); err != nil || n != len(contents) {
		t.Fatalf("writing memfd: %d, %v", n, err)
	}
	return fd
}

func TestReadFDGivesThePINInItsPage(t *testing.T) {
	forEachKind(t, func(t *testing.T, s *Source) {
		for _, secret := range []string{"123456", "12345678", "", strings.Repeat("9", token.PINCapacity), "with\x00nul"} {
			fd := memfd(t, secret)
			if _, err := unix.Seek(fd, 3, 0); err != nil { // the offset of the descriptor plays no part
				t.Fatal(err)
			}
			pin, err := s.ReadFD(fd, len(secret))
			if err != nil {
				t.Fatalf("ReadFD of %d bytes: %v", len(secret), err)
			}
			if pin.Len() != len(secret) {
				t.Errorf("Len = %d, want %d", pin.Len(), len(secret))
			}
			if secret == "" {
				pin.Wipe()
				continue
			}
			got, err := pin.Command([]byte{0x00, 0x20, 0x00, 0x80, 0x08}, 0, 0)
			if err != nil {
				t.Fatalf("Command: %v", err)
			}
			if want := append([]byte{0x00, 0x20, 0x00, 0x80, 0x08}, secret...); !bytes.Equal(got, want) {
				t.Errorf("command of a PIN of %d bytes is not header and PIN", len(secret))
			}
			pin.Wipe()
		}
	})
}

func TestThePageIsZeroedBeforeItIsGivenBack(t *testing.T) {
	forEachKind(t, func(t *testing.T, s *Source) {
		released := 0
		s.released = func(page []byte) {
			released++
			if len(page) != os.Getpagesize() {
				t.Errorf("page of %d bytes, want %d", len(page), os.Getpagesize())
			}
			if !bytes.Equal(page, make([]byte, len(page))) {
				t.Error("page is given back before it is zeroed")
			}
		}
		pin, err := s.ReadFD(memfd(t, "123456"), 6)
		if err != nil {
			t.Fatalf("ReadFD: %v", err)
		}
		command, err := pin.Command([]byte{0x00, 0x20, 0x00, 0x80, 0x08}, 8, 0xFF)
		if err != nil {
			t.Fatalf("Command: %v", err)
		}
		address := uintptr(unsafe.Pointer(&command[0])) &^ uintptr(os.Getpagesize()-1)
		if !mapped(t, address) {
			t.Error("page is not mapped while the PIN is in use")
		}
		pin.Wipe()
		pin.Wipe()
		if released != 1 {
			t.Errorf("page was given back %d times, want once", released)
		}
		if mapped(t, address) {
			t.Error("page is still mapped after Wipe")
		}

		// A refused descriptor leaves no page and no bytes behind either.
		if _, err := s.ReadFD(memfd(t, "1234567"), 6); err == nil {
			t.Fatal("ReadFD took a longer content")
		}
		if released != 2 {
			t.Errorf("page of a refused PIN: given back %d times, want once more", released)
		}
	})
}

// mapped asks the kernel whether a page is mapped, without touching it.
func mapped(t *testing.T, address uintptr) bool {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(maps)) {
		var from, to uintptr
		if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err == nil && from <= address && address < to {
			return true
		}
	}
	return false
}

func TestThePageIsLockedAndOutOfDumpsAndChildren(t *testing.T) {
	forEachKind(t, func(t *testing.T, s *Source) {
		pin, err := s.ReadFD(memfd(t, "123456"), 6)
		if err != nil {
			t.Fatalf("ReadFD: %v", err)
		}
		defer pin.Wipe()
		command, err := pin.Command(nil, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		wantFlags(t, s, uintptr(unsafe.Pointer(&command[0])))
	})
}

// wantFlags wants a page kept as a source keeps it.
func wantFlags(t *testing.T, s *Source, address uintptr) {
	t.Helper()
	flags := vmFlags(t, address)
	want := []string{"lo", "dd"} // proc(5), VmFlags: locked, do not dump
	if s.Kind() == KindSecret {
		want = append(want, "dc") // do not copy on fork
	} else {
		want = append(want, "wf") // wipe on fork
	}
	for _, flag := range want {
		if !strings.Contains(flags+" ", " "+flag+" ") {
			t.Errorf("page has the flags %q, want %q among them", flags, flag)
		}
	}
}

// vmFlags returns the VmFlags line of the mapping that holds the address.
func vmFlags(t *testing.T, address uintptr) string {
	t.Helper()
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	inside := false
	for line := range strings.Lines(string(smaps)) {
		var from, to uintptr
		if _, err := fmt.Sscanf(line, "%x-%x ", &from, &to); err == nil {
			inside = from <= address && address < to
		}
		if flags, ok := strings.CutPrefix(line, "VmFlags:"); ok && inside {
			return strings.TrimRight(flags, "\n ")
		}
	}
	t.Fatal("the page is in no mapping")
	return ""
}

func TestReadFDRefusesWhatWasNotAnnounced(t *testing.T) {
	forEachKind(t, func(t *testing.T, s *Source) {
		tests := []struct {
			name     string
			contents string
			length   int
		}{
			{"one byte more than announced", "1234567", 6},
			{"one byte less than announced", "12345", 6},
			{"nothing where six bytes are announced", "", 6},
			{"something where nothing is announced", "123456", 0},
			{"64 bytes announced and 65 there", strings.Repeat("1", 65), 64},
			{"64 bytes announced and a megabyte there", strings.Repeat("1", 1<<20), 64},
			{"65 bytes announced and there", strings.Repeat("1", 65), 65},
			{"a negative length", "123456", -1},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				pin, err := s.ReadFD(memfd(t, tt.contents), tt.length)
				if !errors.Is(err, ErrContents) {
					t.Errorf("ReadFD = %v, %v, want %v", pin, err, ErrContents)
				}
			})
		}
	})
}

func TestReadFDRefusesWhatIsNoMemfd(t *testing.T) {
	s, err := Open(KindLocked)
	if err != nil {
		t.Fatal(err)
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(pipe[0]); _ = unix.Close(pipe[1]) }()
	if _, err := unix.Write(pipe[1], []byte("123456")); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dir.Close() }()
	proc, err := os.Open("/proc/self/stat")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = proc.Close() }()
	writeOnly := reopen(t, memfd(t, "123456"), unix.O_WRONLY)

	tests := []struct {
		name string
		fd   int
		want error
	}{
		{"a pipe, which could block", pipe[0], ErrContents},
		{"a directory", int(dir.Fd()), ErrContents},
		{"a file of a file system", int(proc.Fd()), ErrContents},
		{"no descriptor", -1, ErrContents},
		{"a memfd open for writing only", writeOnly, unix.EBADF},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pin, err := s.ReadFD(tt.fd, 6)
			if !errors.Is(err, tt.want) {
				t.Errorf("ReadFD = %v, %v, want %v", pin, err, tt.want)
			}
		})
	}
}

func reopen(t *testing.T, fd, flags int) int {
	t.Helper()
	again, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), flags|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("opening memfd again: %v", err)
	}
	t.Cleanup(func() { _ = unix.Close(again) })
	return again
}

func TestATruncatedMemfdIsAnErrorAndNoSignal(t *testing.T) {
	forEachKind(t, func(t *testing.T, s *Source) {
		fd := memfd(t, "123456")
		if err := unix.Ftruncate(fd, 0); err != nil {
			t.Fatal(err)
		}
		if pin, err := s.ReadFD(fd, 6); !errors.Is(err, ErrContents) {
			t.Errorf("ReadFD = %v, %v, want %v", pin, err, ErrContents)
		}
	})
}

func TestPagesAreGivenBackForEver(t *testing.T) {
	// More PINs than RLIMIT_MEMLOCK has room for: each must give its page back.
	forEachKind(t, func(t *testing.T, s *Source) {
		fd := memfd(t, "123456")
		for i := range 5000 {
			pin, err := s.ReadFD(fd, 6)
			if err != nil {
				t.Fatalf("PIN %d: %v", i, err)
			}
			pin.Wipe()
		}
	})
}

func TestWithoutLockableMemoryThereIsNoPIN(t *testing.T) {
	// CAP_IPC_LOCK lifts the limit, so that this is seen only without it.
	if os.Geteuid() == 0 {
		t.Skip("root may lock as much as it wants")
	}
	forEachKind(t, func(t *testing.T, s *Source) {
		var old unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &old); err != nil {
			t.Fatal(err)
		}
		if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Max: old.Max}); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = unix.Setrlimit(unix.RLIMIT_MEMLOCK, &old) }()
		if pin, err := s.ReadFD(memfd(t, "123456"), 6); err == nil {
			t.Errorf("ReadFD = %v, want an error", pin)
		}
		if _, err := Open(s.Kind()); err == nil {
			t.Error("Open gives no error")
		}
	})
}

func TestOpenChoosesOnce(t *testing.T) {
	s, err := Open("")
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	if _, err := Open(KindSecret); (err == nil) != (s.Kind() == KindSecret) {
		t.Errorf("Open chose %q, and memfd_secret gives %v", s.Kind(), err)
	}
	if s, err := Open("heap"); err == nil {
		t.Errorf("Open of an unknown kind = %v, want an error", s)
	}
}
