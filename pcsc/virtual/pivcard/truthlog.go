package pivcard

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// truthLog appends to the log. After a failed write it refuses everything: the
// kernel may have dropped what it could not write (fsyncgate), so that a later
// success would mean nothing.
type truthLog struct {
	file   appender
	now    func() time.Time
	limits limits
	last   event
	failed error
}

// appender is the part of a file that the log needs.
type appender interface {
	io.WriteCloser
	Sync() error
}

// dataFile syncs what was appended and nothing else of the file's metadata.
type dataFile struct{ *os.File }

func (f dataFile) Sync() error { return syscall.Fdatasync(int(f.Fd())) }

// openTruth opens the log of a card and cuts off a torn line.
func openTruth(path string, p profile, now func() time.Time) (*truthLog, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: there is a card but no truth log", ErrDamaged)
	}
	if err != nil {
		return nil, fmt.Errorf("opening truth log: %w", err)
	}
	f, err := foldTruth(file)
	want := limits{p.Behaviour.limit(), p.Behaviour.unlockLimit(), p.Behaviour.NeverLocks}
	if err == nil && (f.guid != hex.EncodeToString(p.GUID) || f.limits != want) {
		err = fmt.Errorf("%w: truth log is not of this card", ErrDamaged)
	}
	if err == nil {
		err = file.Truncate(f.size)
	}
	if err == nil { // with the line before, should that not have been synced
		err = file.Sync()
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return &truthLog{file: dataFile{file}, now: now, limits: f.limits, last: f.last}, nil
}

// note appends an event that nothing depends on, without syncing it.
func (l *truthLog) note(name string) { _ = l.write(event{Event: name}) }

// command notes a command that was answered, by its instruction alone: what is
// in it may be a secret.
func (l *truthLog) command(command, answer []byte) {
	const header = 4
	if len(command) < header || len(answer) < 2 {
		return
	}
	_ = l.write(event{
		Event: eventCommand, INS: hex.EncodeToString(command[1:2]),
		SW: fmt.Sprintf("%02X%02X", answer[len(answer)-2], answer[len(answer)-1]),
	})
}

// record appends an event and returns when it is on disk.
func (l *truthLog) record(e event) error {
	if err := l.write(e); err != nil {
		return err
	}
	if err := l.file.Sync(); err != nil {
		l.failed = fmt.Errorf("syncing truth log: %w", err)
	}
	return l.failed
}

func (l *truthLog) write(e event) error {
	if l.failed != nil {
		return l.failed
	}
	e.Seq, e.Time = l.last.Seq+1, l.now().UTC()
	e.PINLeft, e.UnlockLeft = l.limits.after(l.last, e)
	line, err := json.Marshal(e)
	if err == nil {
		_, err = l.file.Write(append(line, '\n')) // one write: a kill tears at most its end
	}
	if err != nil {
		l.failed = fmt.Errorf("writing truth log: %w", err)
		return l.failed
	}
	l.last = e
	return nil
}

func (l *truthLog) close() error { return l.file.Close() }
