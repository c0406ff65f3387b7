package pinguard

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/inkan-project/inkan/token"
)

// move gives the state directory another inode, as a restored backup has.
func (d *desk) move(t *testing.T) {
	t.Helper()
	_ = d.Close()
	image, err := os.ReadFile(filepath.Join(d.path, journalName))
	if err != nil {
		t.Fatal(err)
	}
	d.path = t.TempDir()
	if err := os.WriteFile(filepath.Join(d.path, journalName), image, 0o600); err != nil {
		t.Fatal(err)
	}
	d.open()
}

func TestACopiedStateDirectoryHoldsEveryCardUntilEachIsAcknowledged(t *testing.T) {
	d := newDesk(t)
	if err := d.try(pin(10), freely, token.VerdictWrong); err != nil {
		t.Fatal(err)
	}
	d.move(t)
	if d.rec.Copied == "" {
		t.Fatal("the copy was not noticed")
	}
	never := Account{Card: cardC, Secret: token.SecretPIN, Limit: 10}
	for range 2 { // it is noticed once, and holds for ever
		for _, acc := range []Account{pin(10), never} {
			if b := d.Belief(acc); b.State != token.CardHeld || b.Held != HeldByCopy {
				t.Errorf("%s: %+v, want held by the copy", acc.Card, b)
			}
		}
		d.restart()
		if d.rec.Copied != "" {
			t.Errorf("noticed again: %s", d.rec.Copied)
		}
	}
	if err := d.Acknowledge(cardC, false, AuditMark{}); err != nil {
		t.Fatal(err)
	}
	d.restart()
	d.refuses("the card that was acknowledged", d.Admit(never, person), "")
	d.refuses("the other", d.Admit(pin(10), person), token.KindCardHeld)
}

func TestTheOriginTellsACopyFromTheOriginal(t *testing.T) {
	here := Origin{Machine: [16]byte{1}, Dir: 2, File: 3}
	tests := map[string]struct {
		now   Origin
		moved bool
	}{
		"the same":                  {here, false},
		"another PC":                {Origin{[16]byte{9}, 2, 3}, true},
		"another directory":         {Origin{[16]byte{1}, 9, 3}, true},
		"another file":              {Origin{[16]byte{1}, 2, 9}, true},
		"a PC without a machine id": {Origin{[16]byte{}, 2, 3}, false},
		"an inode that is unknown":  {Origin{[16]byte{1}, 0, 0}, false},
	}
	for name, tt := range tests {
		if got := here.moved(tt.now); (got != "") != tt.moved {
			t.Errorf("%s: %q, want noticed %t", name, got, tt.moved)
		}
	}
}

func TestAFileThatTakesTheNumberOfAnotherIsAnotherOne(t *testing.T) {
	dir := t.TempDir()
	seen, numbers := map[uint64]bool{}, map[uint64]bool{}
	for range 20 { // ext4 gives the number again at once
		state := filepath.Join(dir, "state")
		if err := os.Mkdir(state, 0o700); err != nil {
			t.Fatal(err)
		}
		f, err := DirFS(state).Create(journalName)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []uint64{DirFS(state).Inode(), f.Inode()} {
			if id == 0 || seen[id] {
				t.Errorf("a new file has the identity %d of an old one, or none", id)
			}
			seen[id] = true
		}
		info, err := os.Stat(state)
		if err != nil {
			t.Fatal(err)
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			numbers[st.Ino] = true
		}
		if err := errors.Join(f.Close(), os.RemoveAll(state)); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("20 directories had %d inode numbers", len(numbers))
}
