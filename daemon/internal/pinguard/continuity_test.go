package pinguard

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/inkan-project/inkan/token"
)

// cardC is never in a journal before a test asks for it.
const cardC = token.CardID("piv-cc")

func mark(t *testing.T, g *Guard, rows uint64) {
	t.Helper()
	if err := g.Mark(AuditMark{Rows: rows, Own: 1}); err != nil {
		t.Fatalf("Mark(%d): %v", rows, err)
	}
}

func TestAnUnreadableSlotCountsOnceForEveryCardAlsoForOneNeverSeen(t *testing.T) {
	path := t.TempDir()
	g, _ := open(t, DirFS(path))
	spend(t, g, cardA, token.VerdictWrong) // slots 1 and 2
	mark(t, g, 7)
	_ = g.Close()
	name := filepath.Join(path, journalName)
	image, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	image[slotSize+100] ^= 1
	if err := os.WriteFile(name, image, 0o600); err != nil {
		t.Fatal(err)
	}
	for i, unreadable := range []int{1, 0, 0} { // counted at the first start, and then in order
		g, rec := open(t, DirFS(path))
		if rec.Unreadable != unreadable || rec.LastAudit.Rows != 7 {
			t.Errorf("start %d: %d slots unreadable and %d rows, want %d and 7", i+1, rec.Unreadable, rec.LastAudit.Rows, unreadable)
		}
		if got := left(g, cardC); got != 9 {
			t.Errorf("start %d: %d tries left for a card never seen, want 9", i+1, got)
		}
		if got := left(g, cardA); got > 9 {
			t.Errorf("start %d: %d tries left after a wrong PIN", i+1, got)
		}
		_ = g.Close()
	}
}

func TestASlotWrittenOverIsFoundThoughItIsWhole(t *testing.T) {
	image := journalOf(t)
	raw := image[2*slotSize : 3*slotSize] // the wrong PIN of A
	s, err := decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	s.count.used = 0
	forged, err := s.encode()
	if err != nil {
		t.Fatal(err)
	}
	copy(raw, forged)
	_, dir, err := openImage(t, image)
	checkRefused(t, dir, image, err)
}

func TestASlotThatIsMissingBehindAnUnreadableOneIsFound(t *testing.T) {
	whole := journalOf(t)
	image := append(bytes.Clone(whole[:4*slotSize]), whole[5*slotSize:]...)
	image[3*slotSize+100] ^= 1
	_, dir, err := openImage(t, image)
	checkRefused(t, dir, image, err)
}

func TestACompactionKeepsWhatCountsForCardsNeverSeen(t *testing.T) {
	dir := DirFS(t.TempDir())
	j := &journal{fs: dir, slots: 8, next: 1}
	if err := j.replace([]slot{{kind: kindHeader, count: count{used: renewedUsed}}}); err != nil {
		t.Fatal(err)
	}
	_ = j.close()
	g, _, err := Open(Config{FS: dir, Now: wallClock, Slots: 8})
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		mark(t, g, 0)
	}
	_ = g.Close()
	if g, _ = open(t, dir); left(g, cardC) != 3 {
		t.Errorf("%d tries left for a card never seen, want the 3 of a renewed journal", left(g, cardC))
	}
}

func TestACompactionKeepsTheAttemptThatIsOpen(t *testing.T) {
	dir := DirFS(t.TempDir())
	g, _ := open(t, dir)
	a, err := g.Debit(Account{cardA, token.SecretPIN, 10, token.Tries{}}, freely, AuditMark{})
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		mark(t, g, 0)
	}
	_ = g.Close() // a crash: it never got a verdict
	g, rec := open(t, dir)
	if len(rec.Dangling) != 1 || rec.Dangling[0].Attempt != a.Number() || left(g, cardA) != 9 {
		t.Errorf("recovery %+v with %d left, want attempt %d and 9", rec, left(g, cardA), a.Number())
	}
}

// A crash can come right behind a compaction: the new journal must not claim
// the row of the barrier that needed the room, nor forget those before.
func TestACompactionKeepsTheCountOfRowsBeforeItsBarrier(t *testing.T) {
	dir := DirFS(t.TempDir())
	disk := &faultFS{FS: dir}
	g, _, err := Open(Config{FS: disk, Now: wallClock, Slots: 4})
	if err != nil {
		t.Fatal(err)
	}
	for rows := uint64(1); rows <= 3; rows++ {
		mark(t, g, rows)
	}
	disk.ops, disk.failAt = nil, 6 // create, write, sync, rename, syncdir, write
	if err := g.Mark(AuditMark{Rows: 4, Own: 1}); !errors.Is(err, errDisk) {
		t.Fatalf("Mark that was cut off: %v after %v", err, disk.ops)
	}
	_ = g.Close()
	if _, rec := open(t, dir); rec.LastAudit.Rows != 3 {
		t.Errorf("after the crash the journal knows of %d rows, want 3", rec.LastAudit.Rows)
	}
}

func TestTheCountOfRowsOutlivesARecovery(t *testing.T) {
	dir := DirFS(t.TempDir())
	g, _ := open(t, dir)
	if _, err := g.Debit(Account{cardA, token.SecretPIN, 10, token.Tries{}}, freely, AuditMark{Rows: 5, Own: 1}); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		_ = g.Close()
		var rec Recovery
		if g, rec = open(t, dir); rec.LastAudit.Rows != 5 {
			t.Errorf("start %d: the journal knows of %d rows, want 5", i+1, rec.LastAudit.Rows)
		}
	}
}

// A second crash can come right behind the compaction that a start needs: with
// the row of the barrier under way in the log already, the new journal must not
// have forgotten one before.
func TestACompactionOfAStartKeepsTheCountOfRows(t *testing.T) {
	dir := DirFS(t.TempDir())
	g, _, err := Open(Config{FS: dir, Now: wallClock, Slots: 4})
	if err != nil {
		t.Fatal(err)
	}
	mark(t, g, 1)
	mark(t, g, 2)
	if _, err := g.Debit(Account{cardA, token.SecretPIN, 10, token.Tries{}}, freely, AuditMark{Rows: 3, Own: 1}); err != nil {
		t.Fatal(err)
	}
	_ = g.Close()
	disk := &faultFS{FS: dir, failAt: 6} // create, write, sync, rename, syncdir, write
	if _, _, err := Open(Config{FS: disk, Now: wallClock, Records: 4}); !errors.Is(err, errDisk) {
		t.Fatalf("Open that was cut off: %v after %v", err, disk.ops)
	}
	_, rec, err := Open(Config{FS: dir, Now: wallClock, Records: 4})
	if err != nil || rec.LastAudit.Rows != 3 {
		t.Errorf("the next start: %v, the journal knows of %d rows; want nil and 3", err, rec.LastAudit.Rows)
	}
}

func TestARenewedJournalKeepsTheBytesOfTheOld(t *testing.T) {
	path := t.TempDir()
	old := bytes.Repeat([]byte("damaged "), slotSize/8)
	if err := os.WriteFile(filepath.Join(path, journalName), old, 0o600); err != nil {
		t.Fatal(err)
	}
	kept, err := Renew(DirFS(path), wallClock(), 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(path, kept)); err != nil || !bytes.Equal(got, old) {
		t.Errorf("%s holds %d bytes (%v), want the %d of the old journal", kept, len(got), err, len(old))
	}
}

func TestAJournalBehindASymbolicLinkIsNotOpened(t *testing.T) {
	path := t.TempDir()
	target := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.WriteFile(target, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, filepath.Join(path, journalName)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(Config{FS: DirFS(path), Now: wallClock}); token.KindOf(err) != token.KindStateNotWritable {
		t.Errorf("Open: %v, want STATE_NOT_WRITABLE", err)
	}
}
