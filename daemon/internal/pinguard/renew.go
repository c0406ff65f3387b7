package pinguard

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/inkan-project/inkan/token"
)

// renewedUsed is what a renewed journal starts every card with: as many tries
// count as spent as leave the last three, which only a person may use; a card
// whose limit is lower keeps that.
const renewedUsed = MaxLimit - lowTries

// ErrHealthy means that a journal is in order: renewing it could give tries
// back.
var ErrHealthy = errors.New("the journal is in order; nothing was changed")

// Renew makes a new journal in the place of one that Open refuses, or that is
// missing; records and newest are those of [Config]. The old file keeps its
// bytes under the name returned ("" if there was none). Every card starts with
// three tries at most until a right PIN proves more; nothing is given back that
// may have been spent. It returns [ErrHealthy] for a journal that Open takes.
func Renew(fsys FS, now time.Time, records, newest uint64) (kept string, err error) {
	f, err := fsys.Open(journalName)
	switch {
	case err == nil:
		if kept, err = setAside(fsys, f, now, records, newest); err != nil {
			return "", err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("opening the old journal: %w", err)
	}
	j := &journal{fs: fsys, slots: defaultSlots, next: 1}
	header := slot{kind: kindHeader, count: count{used: renewedUsed, flags: flagRenewed}, at: now.UnixNano(), audit: AuditMark{Rows: records}}
	if err := j.replace([]slot{header}); err != nil {
		return kept, err
	}
	return kept, j.close()
}

// setAside renames a damaged journal.
func setAside(fsys FS, f File, now time.Time, records, newest uint64) (kept string, err error) {
	found, err := (&journal{fs: fsys, file: f}).read()
	if err == nil {
		err = found.fits(records, newest)
	}
	if closed := f.Close(); closed != nil {
		return "", fmt.Errorf("closing the old journal: %w", closed)
	}
	if token.KindOf(err) != token.KindJournalDamaged {
		return "", errors.Join(ErrHealthy, err)
	}
	kept = journalName + ".corrupt-" + now.UTC().Format(stampLayout)
	if err := errors.Join(fsys.Rename(journalName, kept), fsys.SyncDir()); err != nil {
		return "", fmt.Errorf("keeping the old journal: %w", err)
	}
	return kept, nil
}
