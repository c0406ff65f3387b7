package pinguard

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/inkan-project/inkan/token"
)

// faultFS fails the operation with a given number, and records the order of
// writes and syncs.
type faultFS struct {
	FS
	failAt int // 1 = first operation, 0 = never
	ops    []string
}

var errDisk = errors.New("input/output error")

func (f *faultFS) op(name string) error {
	f.ops = append(f.ops, name)
	if len(f.ops) == f.failAt {
		return errDisk
	}
	return nil
}

func (f *faultFS) Open(name string) (File, error) { return f.wrap(f.FS.Open(name)) }

func (f *faultFS) Create(name string) (File, error) {
	if err := f.op("create"); err != nil {
		return nil, err
	}
	return f.wrap(f.FS.Create(name))
}

func (f *faultFS) Rename(oldname, newname string) error {
	if err := f.op("rename"); err != nil {
		return err
	}
	return f.FS.Rename(oldname, newname)
}

func (f *faultFS) SyncDir() error {
	if err := f.op("syncdir"); err != nil {
		return err
	}
	return f.FS.SyncDir()
}

func (f *faultFS) wrap(file File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return &faultFile{file, f}, nil
}

type faultFile struct {
	File
	fs *faultFS
}

func (f *faultFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.fs.op("write"); err != nil {
		n, _ := f.File.WriteAt(b[:len(b)/2], off) // torn
		return n, err
	}
	return f.File.WriteAt(b, off)
}

func (f *faultFile) Sync() error {
	if err := f.fs.op("sync"); err != nil {
		return err
	}
	return f.File.Sync()
}

func TestADebitIsSyncedBeforeTheAttemptExists(t *testing.T) {
	disk := &faultFS{FS: DirFS(t.TempDir())}
	g, _ := open(t, disk)
	disk.ops = nil
	if _, err := g.Debit(Account{cardA, token.SecretPIN, 10, token.Tries{}}, freely, AuditMark{}); err != nil {
		t.Fatal(err)
	}
	if len(disk.ops) != 2 || disk.ops[0] != "write" || disk.ops[1] != "sync" {
		t.Errorf("operations before the attempt was handed out: %v, want one write, then one sync", disk.ops)
	}
}

func TestAFailedWriteOrSyncPoisonsForEver(t *testing.T) {
	for failAt, name := range map[int]string{1: "write", 2: "sync"} {
		t.Run(name, func(t *testing.T) {
			dir := DirFS(t.TempDir())
			disk := &faultFS{FS: dir}
			g, _ := open(t, disk)
			disk.ops, disk.failAt = nil, failAt
			for i := range 3 {
				a, err := g.Debit(Account{cardA, token.SecretPIN, 10, token.Tries{}}, freely, AuditMark{})
				if a != nil || token.KindOf(err) != token.KindJournalUnavailable {
					t.Fatalf("Debit %d: %v, %v; want JOURNAL_UNAVAILABLE and no attempt", i, a, err)
				}
			}
			if err := g.Mark(AuditMark{}); token.KindOf(err) != token.KindJournalUnavailable {
				t.Errorf("Mark: %v, want JOURNAL_UNAVAILABLE", err)
			}
			if len(disk.ops) != failAt {
				t.Errorf("operations %v: something was retried", disk.ops)
			}
			_ = g.Close()
			again, _ := open(t, dir)
			if got := left(again, cardA); got != 9 && got != 10 {
				t.Errorf("left %d after the restart", got)
			}
		})
	}
}

func TestACrashInACompactionLosesNothing(t *testing.T) {
	for failAt := 1; failAt <= 5; failAt++ {
		dir := DirFS(t.TempDir())
		disk := &faultFS{FS: dir}
		g, _ := open(t, disk)
		for range 4 {
			spend(t, g, cardA, token.VerdictWrong)
		}
		disk.ops, disk.failAt = nil, failAt
		g.mu.Lock()
		err := g.compact(AuditMark{})
		g.mu.Unlock()
		if token.KindOf(err) != token.KindJournalUnavailable {
			t.Errorf("compaction that failed at operation %d (%v): %v", failAt, disk.ops, err)
		}
		again, _ := open(t, dir)
		if got := left(again, cardA); got != 6 {
			t.Errorf("failed at operation %d (%v): left %d, want 6", failAt, disk.ops, got)
		}
	}
}

// journalOf makes a journal with some history: A has used 2 tries and one is
// open (7 left), B has used 1 (9 left). It returns the bytes that are in use.
func journalOf(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	g, _ := open(t, DirFS(dir))
	spend(t, g, cardA, token.VerdictWrong)
	spend(t, g, cardB, token.VerdictOK)
	spend(t, g, cardB, token.VerdictWrong)
	spend(t, g, cardA, token.VerdictWrong)
	if _, err := g.Debit(Account{cardA, token.SecretPIN, 10, token.Tries{}}, freely, AuditMark{}); err != nil {
		t.Fatal(err)
	}
	image, err := os.ReadFile(filepath.Join(dir, journalName))
	if err != nil {
		t.Fatal(err)
	}
	return image[:g.journal.used*slotSize]
}

// openImage opens a journal that has these bytes.
func openImage(t *testing.T, image []byte) (g *Guard, dir string, err error) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, journalName), image, 0o600); err != nil {
		t.Fatal(err)
	}
	g, _, err = Open(Config{FS: DirFS(dir), Now: wallClock, Slots: 64})
	if err == nil {
		t.Cleanup(func() { _ = g.Close() })
	}
	return g, dir, err
}

func TestDamageNeverGivesATryBack(t *testing.T) {
	whole := journalOf(t)
	damage := map[string]func(image []byte, at int){
		"flipped bit": func(image []byte, at int) { image[at] ^= 1 << (at % 8) },
		"zeroed slot": func(image []byte, at int) { clear(image[at/slotSize*slotSize:][:slotSize]) },
		"torn slot":   func(image []byte, at int) { clear(image[at : at/slotSize*slotSize+slotSize]) },
	}
	for name, hurt := range damage {
		t.Run(name, func(t *testing.T) {
			for at := 0; at < len(whole); at += 11 {
				image := bytes.Clone(whole)
				hurt(image, at)
				// A zeroed newest slot cannot be told from one never written.
				tail := at/slotSize == len(whole)/slotSize-1 && (name == "zeroed slot" || at%slotSize == 0)
				if bytes.Equal(image, whole) || tail {
					continue
				}
				g, dir, err := openImage(t, image)
				if err != nil {
					checkRefused(t, dir, image, err)
					continue
				}
				if a, b := left(g, cardA), left(g, cardB); a > 7 || b > 9 {
					t.Fatalf("byte %d: left %d and %d, true are 7 and 9", at, a, b)
				}
				if kept, _ := filepath.Glob(filepath.Join(dir, "*.corrupt-*")); len(kept) != 1 {
					t.Fatalf("byte %d: %d copies of the damaged journal kept, want 1", at, len(kept))
				}
			}
		})
	}
}

// checkRefused checks that a journal was refused as damaged and not touched.
func checkRefused(t *testing.T, dir string, image []byte, err error) {
	t.Helper()
	if token.KindOf(err) != token.KindJournalDamaged {
		t.Fatalf("Open: %v, want JOURNAL_DAMAGED", err)
	}
	now, readErr := os.ReadFile(filepath.Join(dir, journalName))
	if readErr != nil || !bytes.Equal(now, image) {
		t.Fatalf("a refused journal was changed (%v)", readErr)
	}
}

func TestAJournalThatDoesNotHoldTogetherIsRefused(t *testing.T) {
	whole := journalOf(t)
	slotAt := func(i int) []byte { return whole[i*slotSize : (i+1)*slotSize] }
	images := map[string][]byte{
		"empty":             {},
		"nothing but zeros": make([]byte, 8*slotSize),
		"not whole slots":   whole[:len(whole)-1],
		"no header":         whole[slotSize:],
		"a slot cut out":    append(bytes.Clone(whole[:2*slotSize]), whole[3*slotSize:]...),
		"a slot twice":      append(bytes.Clone(whole), slotAt(len(whole)/slotSize-1)...),
		"two slots swapped": append(append(append(bytes.Clone(whole[:2*slotSize]), slotAt(3)...), slotAt(2)...), whole[4*slotSize:]...),
		"ten unreadable":    append(bytes.Clone(whole), bytes.Repeat([]byte{0xEE}, 10*slotSize)...),
		"another file":      bytes.Repeat([]byte("not a journal!! "), 64),
	}
	for name, image := range images {
		t.Run(name, func(t *testing.T) {
			_, dir, err := openImage(t, image)
			if err == nil {
				t.Fatal("opened")
			}
			checkRefused(t, dir, image, err)
		})
	}
}

// What a compaction wrote is synced before it is a journal: no crash can leave
// a part of it, and its last slots say as much about tries as any.
func TestAJournalThatEndsWithinACompactionIsRefused(t *testing.T) {
	path := t.TempDir()
	g, _ := open(t, DirFS(path))
	spend(t, g, cardA, token.VerdictWrong)
	spend(t, g, cardB, token.VerdictWrong)
	g.mu.Lock()
	err := g.compact(AuditMark{})
	g.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	image, err := os.ReadFile(filepath.Join(path, journalName))
	if err != nil {
		t.Fatal(err)
	}
	image = image[:g.journal.used*slotSize]
	for cut := 1; cut < g.journal.used; cut++ {
		zeroed := bytes.Clone(image)
		clear(zeroed[cut*slotSize:])
		for _, damage := range [][]byte{image[:cut*slotSize], zeroed} {
			_, dir, err := openImage(t, damage)
			if err == nil {
				t.Fatalf("opened with %d of %d slots", cut, g.journal.used)
			}
			checkRefused(t, dir, damage, err)
		}
	}
	if g, _, err := openImage(t, image); err != nil || left(g, cardA) != 9 {
		t.Errorf("the whole of it: %v", err)
	}
}

func TestAStateDirectoryThatCannotBeWritten(t *testing.T) {
	disk := &faultFS{FS: DirFS(t.TempDir()), failAt: 1}
	_, _, err := Open(Config{FS: disk, Now: wallClock})
	if token.KindOf(err) != token.KindStateNotWritable {
		t.Errorf("Open: %v, want STATE_NOT_WRITABLE", err)
	}
	if _, err := DirFS(t.TempDir()).Open("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("DirFS.Open of a missing file: %v", err)
	}
}

func FuzzSlot(f *testing.F) {
	b, err := slot{kind: kindDebit, secret: token.SecretPIN, sequence: 7, attempt: 7, card: cardA, count: count{used: 3, users: []user{{1000, 1}}}}.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(make([]byte, slotSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != slotSize {
			return
		}
		s, err := decode(b)
		if err != nil {
			return
		}
		again, err := s.encode()
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("a slot that was read is written differently: %v", err)
		}
	})
}

func TestAMissingJournalIsDamageOnceThereAreRecords(t *testing.T) {
	dir := t.TempDir()
	for range 2 { // refusing must not make one
		_, _, err := Open(Config{FS: DirFS(dir), Now: wallClock, Records: 4})
		if token.KindOf(err) != token.KindJournalDamaged {
			t.Fatalf("Open: %v, want JOURNAL_DAMAGED", err)
		}
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
		t.Errorf("files %v, %v; want none", files, err)
	}
}
