package frame_test

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/inkan-project/inkan/token/p11/frame"
)

// pair returns both ends of a connection; the second is closed by the test.
func pair(t *testing.T) (ours, theirs int) {
	t.Helper()
	ours, theirs, err := frame.Pair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(ours) })
	return ours, theirs
}

func buffer() []byte { return make([]byte, frame.Max+1) }

func TestAMessageArrivesAsItWasSentWithItsDescriptors(t *testing.T) {
	ours, theirs := pair(t)
	defer func() { _ = unix.Close(theirs) }()
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	sent := frame.Request{Op: frame.OpSetPIN, Slot: 7, Secrets: []int{6, 8}, Data: []byte{0, 1}}
	if err := frame.Send(ours, sent, int(file.Fd()), int(file.Fd())); err != nil {
		t.Fatal(err)
	}
	var came frame.Request
	descriptors, err := frame.Receive(theirs, &came, buffer())
	if err != nil || len(descriptors) != 2 {
		t.Fatalf("%d descriptors, %v, want 2", len(descriptors), err)
	}
	defer frame.Close(descriptors)
	if d := cmp.Diff(sent, came); d != "" {
		t.Errorf("what came differs from what was sent:\n%s", d)
	}
	for _, fd := range descriptors {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("a descriptor that came would reach children: flags %d, %v", flags, err)
		}
	}
}

func TestTheLongestMessageFitsAndALongerOneIsNotSent(t *testing.T) {
	ours, theirs := pair(t)
	defer func() { _ = unix.Close(theirs) }()
	fits := frame.Answer{Error: strings.Repeat("x", frame.Max-len(`{"RV":0,"Error":""}`))}
	if err := frame.Send(ours, fits); err != nil {
		t.Fatalf("sending %d bytes: %v", frame.Max, err)
	}
	var came frame.Answer
	if _, err := frame.Receive(theirs, &came, buffer()); err != nil || came.Error != fits.Error {
		t.Errorf("the longest message: %d bytes came, %v", len(came.Error), err)
	}
	fits.Error += "x"
	if err := frame.Send(ours, fits); !errors.Is(err, frame.ErrGarbage) {
		t.Errorf("sending one byte more gives %v, want %v", err, frame.ErrGarbage)
	}
}

func TestWhatIsNotOneMessageIsAnError(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	fd := int(null.Fd())
	many := make([]int, 100)
	for i := range many {
		many[i] = fd
	}
	for _, tt := range []struct {
		name        string
		text        string
		descriptors []int
		want        error
	}{
		{"an empty one", "", nil, io.EOF},
		{"no JSON", "garbage", nil, frame.ErrGarbage},
		{"half a one", `{"RV":`, nil, frame.ErrGarbage},
		{"two", `{"RV":0}{"RV":0}`, nil, frame.ErrGarbage},
		{"one and a half", `{"RV":0}{`, nil, frame.ErrGarbage},
		{"an unknown field", `{"RV":0,"PIN":"x"}`, nil, frame.ErrGarbage},
		{"a negative value", `{"RV":-1}`, nil, frame.ErrGarbage},
		{"a value that is too large", `{"RV":18446744073709551616}`, nil, frame.ErrGarbage},
		{"a list", `[]`, nil, frame.ErrGarbage},
		{"a deep one", strings.Repeat("[", 100_000), nil, frame.ErrGarbage},
		{"a long one", `{"RV":0}` + strings.Repeat(" ", frame.Max), nil, frame.ErrGarbage},
		{"too many descriptors", `{"RV":0}`, many, frame.ErrGarbage},
		{"descriptors with garbage", `x`, []int{fd, fd}, frame.ErrGarbage},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ours, theirs := pair(t)
			var oob []byte
			if tt.descriptors != nil {
				oob = unix.UnixRights(tt.descriptors...)
			}
			if err := unix.Sendmsg(theirs, []byte(tt.text), oob, nil, 0); err != nil {
				t.Fatal(err)
			}
			_ = unix.Close(theirs)
			before := open(t)
			var came frame.Answer
			descriptors, err := frame.Receive(ours, &came, buffer())
			if !errors.Is(err, tt.want) || descriptors != nil {
				t.Errorf("descriptors %v, %v, want %v", descriptors, err, tt.want)
			}
			if now := open(t); now != before {
				t.Errorf("%d descriptors are open, were %d", now, before)
			}
		})
	}
}

func open(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func TestTheEndOfTheOtherSideIsTold(t *testing.T) {
	ours, theirs := pair(t)
	_ = unix.Close(theirs)
	if _, err := frame.Receive(ours, &frame.Answer{}, buffer()); !errors.Is(err, io.EOF) {
		t.Errorf("Receive gives %v, want %v", err, io.EOF)
	}
	if err := frame.Send(ours, frame.Request{Op: frame.OpEnd}); !errors.Is(err, unix.EPIPE) {
		t.Errorf("Send gives %v, want %v", err, unix.EPIPE)
	}
}

// FuzzDecode: whatever a module's process sends is one message or an error, and
// a message is the same when it is sent on.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"", "{}", `{"RV":160,"Call":"C_Login","Token":{"Flags":65536}}`, `{"Objects":[{"Class":1,"ID":"AQ=="}]}`,
		`{"Slots":[{"ID":7,"Description":"x","Token":{}}]}`, `{"RV":0}{}`, `{"PIN":1}`, "null", `{"Signature":null}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var a frame.Answer
		if err := frame.Decode(text, &a); err != nil {
			if !errors.Is(err, frame.ErrGarbage) {
				t.Errorf("%q gives %v", text, err)
			}
			return
		}
		ours, theirs := pair(t)
		defer func() { _ = unix.Close(theirs) }()
		if err := frame.Send(ours, a); err != nil {
			if !errors.Is(err, frame.ErrGarbage) { // longer than it came
				t.Errorf("%q cannot be sent on: %v", text, err)
			}
			return
		}
		var again frame.Answer
		if _, err := frame.Receive(theirs, &again, buffer()); err != nil {
			t.Errorf("%q: what is sent on cannot be read: %v", text, err)
		}
	})
}
