package pcsc_test

import (
	"errors"
	"testing"
	"time"

	"github.com/ebfe/scard"

	"github.com/inkan-project/inkan/pcsc"
)

// otherProgram connects as other programs do, by the bare library.
func otherProgram(t *testing.T, reader string, mode scard.ShareMode) (*scard.Card, error) {
	t.Helper()
	ctx, err := scard.EstablishContext()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ctx.Release() })
	return ctx.Connect(reader, mode, scard.ProtocolAny)
}

func TestCardOfAnotherProgramIsNamedSoAndFreeWhenLetGo(t *testing.T) {
	for name, mode := range map[string]scard.ShareMode{"shared": scard.ShareShared, "exclusive": scard.ShareExclusive} {
		t.Run(name, func(t *testing.T) {
			s, r, _ := start(t)
			theirs, err := otherProgram(t, r.Name, mode)
			if err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			_, err = s.Connect(t.Context(), r.Name)
			wantError(t, "connecting", err, pcsc.ErrSharing)
			t.Logf("heard of the other program in %v", time.Since(begin))
			await(t, s, "the card to be seen all the same", present(r.Name, true))
			if err := theirs.Disconnect(scard.LeaveCard); err != nil {
				t.Fatal(err)
			}
			mustTell(t, connect(t, s, r), whoAreYou, "A\x90\x00")
		})
	}
}

func TestTransactionOfAnotherProgramDoesNotBlockUs(t *testing.T) {
	s, r, _ := start(t)
	theirs, err := otherProgram(t, r.Name, scard.ShareShared)
	if err != nil {
		t.Fatal(err)
	}
	if err := theirs.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	_, err = s.Connect(t.Context(), r.Name)
	wantError(t, "connecting", err, pcsc.ErrSharing)
	t.Logf("heard of it in %v", time.Since(begin))
	if err := theirs.EndTransaction(scard.LeaveCard); err != nil {
		t.Fatal(err)
	}
	if err := theirs.Disconnect(scard.LeaveCard); err != nil {
		t.Fatal(err)
	}
	mustTell(t, connect(t, s, r), whoAreYou, "A\x90\x00")
}

func TestNobodyComesInWhileWeHoldTheCard(t *testing.T) {
	s, r, card := start(t)
	c := connect(t, s, r)
	mustTell(t, c, login, "\x90\x00")
	_, before := card.count()
	for name, mode := range map[string]scard.ShareMode{
		"shared": scard.ShareShared, "exclusive": scard.ShareExclusive, "direct": scard.ShareDirect,
	} {
		if _, err := otherProgram(t, r.Name, mode); !errors.Is(err, scard.ErrSharingViolation) {
			t.Errorf("%s: another program got %v, want a sharing violation", name, err)
		}
	}
	mustTell(t, c, loggedIn, "\x90\x00")
	if _, after := card.count(); after != before {
		t.Errorf("the card was reset %d times meanwhile", after-before)
	}
}

// TestLoginOfAnotherProgramIsNotOurs: whoever was there before us, a reset
// comes before our first use, by the caller; here it is shown to work.
func TestLoginOfAnotherProgramIsNotOurs(t *testing.T) {
	s, r, _ := start(t)
	theirs, err := otherProgram(t, r.Name, scard.ShareShared)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := theirs.Transmit([]byte(login)); err != nil {
		t.Fatal(err)
	}
	if err := theirs.Disconnect(scard.LeaveCard); err != nil {
		t.Fatal(err)
	}
	c := connect(t, s, r)
	mustTell(t, c, loggedIn, "\x90\x00")
	if err := c.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustTell(t, c, loggedIn, "\x69\x82")
}
