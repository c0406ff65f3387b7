package pinguard

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/inkan-project/inkan/token"
)

func TestInspectFindsEveryTryAndChangesNothing(t *testing.T) {
	dir := t.TempDir()
	if got, err := Inspect(DirFS(dir)); err != nil || got.Last != 0 || len(got.Tries) != 0 {
		t.Errorf("of no journal: %+v, %v", got, err)
	}
	image := journalOf(t) // four tries that ended, and one that has not
	image = append(image, image[:slotSize/2]...)
	image = append(image, make([]byte, slotSize/2)...) // torn
	path := filepath.Join(dir, journalName)
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Inspect(DirFS(dir))
	if err != nil || got.First != 1 || got.Last != uint64(len(image)/slotSize) || got.Unreadable != 1 || len(got.Tries) != 5 {
		t.Errorf("Inspect: %+v, %v", got, err)
	}
	if last := got.Tries[4]; last != (Spent{cardA, token.SecretPIN, 10}) {
		t.Errorf("the last try is %+v", last)
	}
	if now, err := os.ReadFile(path); err != nil || string(now) != string(image) {
		t.Errorf("the journal was changed (%v)", err)
	}
}

func TestInspectSeesTheTryThatACompactionCarriesOn(t *testing.T) {
	dir := DirFS(t.TempDir())
	g, _ := open(t, dir)
	attempt, err := g.Debit(Account{cardA, token.SecretPIN, 10, token.Tries{}}, freely, AuditMark{})
	if err != nil {
		t.Fatal(err)
	}
	g.mu.Lock()
	err = g.compact(AuditMark{})
	g.mu.Unlock()
	got, inspected := Inspect(dir)
	if err := errors.Join(err, inspected); err != nil {
		t.Fatal(err)
	}
	if len(got.Tries) != 1 || got.Tries[0].Attempt != attempt.Number() || got.First <= attempt.Number() {
		t.Errorf("Inspect: %+v, want attempt %d in a journal that begins later", got, attempt.Number())
	}
}
