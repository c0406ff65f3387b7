package p11

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/token/p11/frame"
)

// A forged answer that lies there already would be taken for the answer to the
// next request, and each one after it for another.
func TestAnAnswerThatNobodyAskedForEndsTheProcess(t *testing.T) {
	c, err := start(nil)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs, err := frame.Pair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(theirs) })
	if err := unix.Close(c.socket); err != nil { // the real one ends with it
		t.Fatal(err)
	}
	c.socket = ours
	if err := frame.Send(theirs, frame.Answer{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.call(t.Context(), frame.Request{Op: frame.OpSlots}); !errors.Is(err, ErrGarbage) {
		t.Errorf("call: %v, want %v", err, ErrGarbage)
	}
	if frame.IsWaiting(theirs) {
		t.Error("the request was sent all the same")
	}
	c.close(t.Context())
}

func TestReadersWhoseSlotsHaveOneNameAreCounted(t *testing.T) {
	long := strings.Repeat("x", 64)
	s := &System{readers: []pcsc.ReaderState{{Name: long + " 00 00"}, {Name: long + " 00 01"}, {Name: "other"}}}
	if a, b := s.namesakes(long+" 00 00"), s.namesakes("other"); a != 2 || b != 1 {
		t.Errorf("%d and %d readers, want 2 and 1", a, b)
	}
}
