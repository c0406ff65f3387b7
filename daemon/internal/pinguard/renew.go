package pinguard

import (
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// renewedUsed is what a renewed journal starts every card with: as many tries
// count as spent as leave the last three, which only a person may use.
const renewedUsed = MaxLimit - lowTries

// Renew makes a new journal in the place of one that Open refuses, or that is
// missing. The old file keeps its bytes under the name returned ("" if there
// was none). Every card starts with three tries at most until a right PIN
// proves more; nothing is given back that may have been spent.
func Renew(fsys FS, now time.Time) (kept string, err error) {
	f, err := fsys.Open(journalName)
	switch {
	case err == nil:
		kept = journalName + ".corrupt-" + now.UTC().Format(stampLayout)
		if err := errors.Join(f.Close(), fsys.Rename(journalName, kept), fsys.SyncDir()); err != nil {
			return "", fmt.Errorf("keeping the old journal: %w", err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("opening the old journal: %w", err)
	}
	j := &journal{fs: fsys, slots: defaultSlots, next: 1}
	if err := j.replace([]slot{{kind: kindHeader, used: renewedUsed, at: now.UnixNano()}}); err != nil {
		return kept, err
	}
	return kept, j.close()
}
