package pinguard

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/failpoint"
	"github.com/inkan-project/inkan/token"
)

const (
	journalName = "pin-tries.journal"
	newName     = "pin-tries.journal.new"
	// stampLayout makes the time in the name of a copy that is kept.
	stampLayout  = "20060102T150405Z"
	defaultSlots = 8192
	// maxUnreadable is the number of unreadable slots from which on a journal
	// is refused: with ten, every card would count as locked.
	maxUnreadable = MaxLimit - 1
)

// journal is the open file. Not safe for concurrent use: the Guard locks.
type journal struct {
	fs       FS
	file     File
	slots    int               // size of a new file
	capacity int               // in slots
	used     int               // slots written
	next     uint64            // sequence of the next slot
	prev     [sha256.Size]byte // hash of the newest slot
}

// findings is what reading a journal yields.
type findings struct {
	books
	unreadable int
	audit      AuditMark
	origin     Origin // of the header
}

func damaged(format string, args ...any) *token.Error {
	return token.Errorf(token.KindJournalDamaged, format, args...)
}

// openJournal reads the journal, or makes an empty one where there was none.
func openJournal(fsys FS, slots int, records, newest uint64) (*journal, findings, error) {
	j := &journal{fs: fsys, slots: slots, next: 1}
	f, err := fsys.Open(journalName)
	if errors.Is(err, fs.ErrNotExist) {
		if records > 0 {
			return nil, findings{}, damaged("it is missing, although the log has %d records", records)
		}
		empty := findings{books: newBooks()}
		if err := j.replace([]slot{{kind: kindHeader}}); err != nil {
			return nil, findings{}, token.Errorf(token.KindStateNotWritable, "the PIN-try journal cannot be made").Because(err)
		}
		return j, empty, nil
	}
	if err != nil {
		return nil, findings{}, token.Errorf(token.KindStateNotWritable, "the PIN-try journal cannot be opened").Because(err)
	}
	j.file = f
	found, err := j.read()
	if err == nil {
		err = found.fits(records, newest)
	}
	if err != nil {
		return nil, findings{}, errors.Join(err, f.Close())
	}
	return j, found, nil
}

// fits holds the journal against the log. A crash can lose the slot of the one
// barrier that was under way, with the newest records, and a slot that is
// unreadable may have known of one more; a journal that ends earlier was cut.
func (f findings) fits(records, newest uint64) error {
	if most := f.audit.Rows + newest + uint64(f.unreadable); records > most {
		return damaged("it was cut: it knows of %d records, the log has %d", f.audit.Rows, records)
	}
	return nil
}

// read folds all slots. Unreadable slots count as a try for every card;
// anything that readable slots contradict is damage.
func (j *journal) read() (findings, error) {
	found := findings{books: newBooks()}
	size, err := j.file.Size()
	if err != nil {
		return found, damaged("its size cannot be read").Because(err)
	}
	if size == 0 || size%slotSize != 0 {
		return found, damaged("its size, %d bytes, is not a number of slots", size)
	}
	all := make([]byte, size)
	if _, err := j.file.ReadAt(all, 0); err != nil {
		return found, damaged("it cannot be read").Because(err)
	}
	j.capacity = len(all) / slotSize
	j.used = written(all)

	least := 1       // slots there must be: those that the file was made with
	chained := false // prev holds the hash of a readable slot right before
	for i := range j.used {
		raw := all[i*slotSize : (i+1)*slotSize]
		s, err := decode(raw)
		switch {
		case err != nil && i == 0:
			return found, damaged("its first slot is unreadable")
		case err != nil:
			found.unreadable++
			found.spendForAll()
			chained = false
			j.next++
		default:
			if err := j.follows(s, i, chained); err != nil {
				return found, err
			}
			found.apply(s)
			found.audit = s.audit
			if s.kind == kindHeader {
				found.origin = s.origin
				least = max(least, int(min(s.attempt, uint64(j.capacity)+1)))
			}
			chained = true
			j.next = s.sequence + 1
		}
		j.prev = sha256.Sum256(raw)
	}
	if j.used < least {
		return found, damaged("it ends within what a compaction wrote")
	}
	if found.unreadable > maxUnreadable {
		return found, damaged("%d slots are unreadable", found.unreadable)
	}
	return found, nil
}

// follows checks a readable slot against the one before.
func (j *journal) follows(s slot, i int, chained bool) error {
	if (i == 0) != (s.kind == kindHeader) {
		return damaged("slot %d is out of place", i)
	}
	if i == 0 {
		return nil
	}
	if s.sequence != j.next {
		return damaged("slot %d has number %d, not %d", i, s.sequence, j.next)
	}
	if chained && s.prev != j.prev {
		return damaged("slot %d does not continue slot %d", i, i-1)
	}
	return nil
}

// written returns the number of slots up to the last one that is not empty.
func written(all []byte) int {
	var empty [slotSize]byte
	used := len(all) / slotSize
	for used > 0 && bytes.Equal(all[(used-1)*slotSize:used*slotSize], empty[:]) {
		used--
	}
	return used
}

func (j *journal) full() bool { return j.used >= j.capacity }

// append writes one slot behind the newest and syncs it.
func (j *journal) append(s slot) error {
	s.sequence, s.prev = j.next, j.prev
	b, err := s.encode()
	if err != nil {
		return err
	}
	at := int64(j.used) * slotSize
	if failpoint.Enabled {
		j.half(s.kind, b, at)
	}
	if _, err := j.file.WriteAt(b, at); err != nil {
		return fmt.Errorf("writing slot %d: %w", s.sequence, err)
	}
	if s.kind == kindDebit {
		failpoint.Hit(failpoint.DebitWritten)
	}
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("syncing slot %d: %w", s.sequence, err)
	}
	j.used++
	j.next++
	j.prev = sha256.Sum256(b)
	return nil
}

// half writes half of a slot and dies, in a build with failpoints.
func (j *journal) half(kind slotKind, b []byte, at int64) {
	point := failpoint.HalfDebit
	if kind == kindVerdict {
		point = failpoint.HalfVerdict
	} else if kind != kindDebit {
		return
	}
	if failpoint.Armed(point) {
		_, _ = j.file.WriteAt(b[:len(b)/2], at)
	}
	failpoint.Hit(point)
}

// replace puts a new file with these slots, the first of them the header, in
// the journal's place: written
// and synced under another name, renamed, directory synced. The numbers and
// the chain go on.
func (j *journal) replace(slots []slot) error {
	capacity := max(j.slots, 2*len(slots))
	image := make([]byte, capacity*slotSize)
	f, err := j.fs.Create(newName)
	if err != nil {
		return fmt.Errorf("making a journal: %w", err)
	}
	slots[0].attempt = uint64(len(slots)) // a file that ends before them was cut
	slots[0].origin = Origin{Machine: machine(), Dir: j.fs.Inode(), File: f.Inode()}
	next, prev := j.next, j.prev
	for i, s := range slots {
		s.sequence, s.prev = next, prev
		b, err := s.encode()
		if err != nil {
			return errors.Join(err, f.Close())
		}
		copy(image[i*slotSize:], b)
		next++
		prev = sha256.Sum256(b)
	}
	if err := j.install(f, image); err != nil {
		return errors.Join(err, f.Close())
	}
	old := j.file
	j.file, j.capacity, j.used, j.next, j.prev = f, capacity, len(slots), next, prev
	if old != nil {
		return old.Close()
	}
	return nil
}

// install makes image durable and gives it the journal's name.
func (j *journal) install(f File, image []byte) error {
	if _, err := f.WriteAt(image, 0); err != nil {
		return fmt.Errorf("writing a journal: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("syncing a journal: %w", err)
	}
	if err := j.fs.Rename(newName, journalName); err != nil {
		return fmt.Errorf("renaming a journal: %w", err)
	}
	if err := j.fs.SyncDir(); err != nil {
		return fmt.Errorf("syncing the state directory: %w", err)
	}
	return nil
}

// keepCopy stores the file as it is beside the journal and returns the name.
func (j *journal) keepCopy(now time.Time) (string, error) {
	name := journalName + ".corrupt-" + now.UTC().Format(stampLayout)
	image := make([]byte, j.capacity*slotSize)
	if _, err := j.file.ReadAt(image, 0); err != nil {
		return "", fmt.Errorf("reading the journal: %w", err)
	}
	f, err := j.fs.Create(name)
	if err != nil {
		return "", fmt.Errorf("keeping a copy of the journal: %w", err)
	}
	if _, err := f.WriteAt(image, 0); err != nil {
		return "", errors.Join(fmt.Errorf("keeping a copy of the journal: %w", err), f.Close())
	}
	if err := f.Sync(); err != nil {
		return "", errors.Join(fmt.Errorf("keeping a copy of the journal: %w", err), f.Close())
	}
	// Its name must last before the journal gets another file in its place.
	if err := errors.Join(f.Close(), j.fs.SyncDir()); err != nil {
		return "", fmt.Errorf("keeping a copy of the journal: %w", err)
	}
	return name, nil
}

func (j *journal) close() error { return j.file.Close() }
