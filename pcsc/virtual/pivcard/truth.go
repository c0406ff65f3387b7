package pivcard

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// truthName is the truth log: one JSON object per line, only ever appended.
const truthName = "truth.jsonl"

// maxTruthLine is far above any line that is written.
const maxTruthLine = 4096

// Events of the truth log. An event with a secret is written before the secret
// is compared, and its "-result" before the answer leaves.
const (
	eventMade       = "personalised"
	eventPower      = "power"
	eventReset      = "reset"
	eventStatus     = "status"      // VERIFY without data: a question
	eventVerify     = "verify"      // VERIFY with data
	eventChange     = "change"      // CHANGE REFERENCE DATA
	eventResetRetry = "reset-retry" // RESET RETRY COUNTER
	eventSign       = "sign"        // GENERAL AUTHENTICATE
	resultSuffix    = "-result"
)

// Values of fields.
const (
	referencePIN    = "80"
	referenceUnlock = "81"
	statusWordOK    = "9000"
	noStatusWord    = "" // a try was spent, the result is to follow
	hexDigitsOfGUID = 32
)

// event is one line. No field can hold a secret.
type event struct {
	Seq        uint64    `json:"seq"`
	Time       time.Time `json:"time"`
	Event      string    `json:"event"`
	Ref        string    `json:"ref,omitempty"` // reference whose try is spent: 80 PIN, 81 unlock code
	PINLeft    int       `json:"pin_left"`      // after this event
	UnlockLeft int       `json:"unlock_left"`
	SW         string    `json:"sw,omitempty"` // answered; absent: a try was spent, result follows
	Slot       string    `json:"slot,omitempty"`
	Input      string    `json:"input_sha256,omitempty"`
	Signature  string    `json:"signature_sha256,omitempty"`
	GUID       string    `json:"guid,omitempty"` // in the first line
}

// Signature is one signature that the card made.
type Signature struct {
	Slot            string // for example "9c"
	InputSHA256     string // of what was signed: padded block or digest; hexadecimal
	SignatureSHA256 string // of the card's answer; hexadecimal
}

// Truth is what the card saw, from its first day on.
type Truth struct {
	StatusQueries  int // VERIFY without data
	Verifies       int // VERIFY with data, whatever was answered
	UnlockVerifies int // commands that carried the unlock code
	Changes        int // CHANGE REFERENCE DATA, of both secrets
	Resets         int // resets and power-ons
	Signatures     []Signature
	PINLeft        int
	UnlockLeft     int
}

// ReadTruth counts the truth log in a card's directory. It may be called while
// the card runs; a line that is not complete yet does not count. It returns an
// error wrapping [ErrDamaged] when the log is not one that a card wrote.
func ReadTruth(dir string) (Truth, error) {
	f, err := os.Open(filepath.Join(dir, truthName))
	if err != nil {
		return Truth{}, fmt.Errorf("opening truth log: %w", err)
	}
	defer f.Close()
	fold, err := foldTruth(f)
	return fold.truth, err
}

// fold is the state that a log amounts to.
type fold struct {
	truth Truth
	last  event
	guid  string
	size  int64 // bytes in complete lines
}

// foldTruth reads to the last newline. What stands after it was torn by a
// kill: it was never answered, and the try it may have been about was never
// compared. Anything else that does not fit is damage, also in the last line:
// a line with its newline may have been answered.
func foldTruth(r io.Reader) (fold, error) {
	var f fold
	lines := bufio.NewReaderSize(r, maxTruthLine)
	for {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			return f, nil
		}
		if err != nil {
			return f, fmt.Errorf("reading truth log after line %d: %w", f.last.Seq, errors.Join(ErrDamaged, err))
		}
		var e event
		decoder := json.NewDecoder(bytes.NewReader(line))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&e); err != nil {
			return f, fmt.Errorf("reading truth log after line %d: %w", f.last.Seq, errors.Join(ErrDamaged, err))
		}
		if err := f.add(e); err != nil {
			return f, fmt.Errorf("truth log line %d: %w", f.last.Seq+1, err)
		}
		f.size += int64(len(line))
	}
}

// add checks that e can follow, so that no number of tries is believed that
// the events before it do not explain.
func (f *fold) add(e event) error {
	if e.Seq != f.last.Seq+1 {
		return fmt.Errorf("%w: sequence number %d", ErrDamaged, e.Seq)
	}
	if (e.Event == eventMade) != (e.Seq == 1) || e.Seq == 1 && len(e.GUID) != hexDigitsOfGUID {
		return fmt.Errorf("%w: event %q", ErrDamaged, e.Event)
	}
	if debit, ok := strings.CutSuffix(e.Event, resultSuffix); ok && (f.last.Event != debit || f.last.Ref != e.Ref || f.last.SW != noStatusWord) {
		return fmt.Errorf("%w: %s without its %s", ErrDamaged, e.Event, debit)
	}
	pin, unlock := f.last.after(e)
	if e.PINLeft != pin || e.UnlockLeft != unlock || pin < 0 || unlock < 0 {
		return fmt.Errorf("%w: tries %d and %d, should be %d and %d", ErrDamaged, e.PINLeft, e.UnlockLeft, pin, unlock)
	}
	if e.Seq == 1 {
		f.guid = e.GUID
	}
	f.last = e
	f.truth.count(e)
	return nil
}

// after returns the tries that are left when e follows last.
func (last event) after(e event) (pin, unlock int) {
	pin, unlock = last.PINLeft, last.UnlockLeft
	switch e.Event {
	case eventMade:
		return Tries, Tries
	case eventVerify, eventChange, eventResetRetry:
		if e.SW != noStatusWord { // refused before any comparison
			return pin, unlock
		}
		if e.Ref == referencePIN {
			return pin - 1, unlock
		}
		return pin, unlock - 1
	case eventVerify + resultSuffix, eventChange + resultSuffix:
		if e.SW != statusWordOK {
			return pin, unlock
		}
		if e.Ref == referencePIN {
			return Tries, unlock
		}
		return pin, Tries
	case eventResetRetry + resultSuffix:
		if e.SW == statusWordOK {
			return Tries, Tries
		}
	}
	return pin, unlock
}

func (t *Truth) count(e event) {
	t.PINLeft, t.UnlockLeft = e.PINLeft, e.UnlockLeft
	switch e.Event {
	case eventStatus:
		t.StatusQueries++
	case eventVerify:
		t.Verifies++
	case eventChange:
		t.Changes++
	case eventPower, eventReset:
		t.Resets++
	case eventSign:
		t.Signatures = append(t.Signatures, Signature{Slot: e.Slot, InputSHA256: e.Input, SignatureSHA256: e.Signature})
	}
	if e.Ref == referenceUnlock && (e.Event == eventResetRetry || e.Event == eventChange) {
		t.UnlockVerifies++
	}
}

// truthLog appends to the log. After a failed write it refuses everything: the
// kernel may have dropped what it could not write (fsyncgate), so that a later
// success would mean nothing.
type truthLog struct {
	file   appender
	now    func() time.Time
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

// openTruth opens the log of the card with this GUID and cuts off a torn line.
func openTruth(path string, guid []byte, now func() time.Time) (*truthLog, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: there is a card but no truth log", ErrDamaged)
	}
	if err != nil {
		return nil, fmt.Errorf("opening truth log: %w", err)
	}
	f, err := foldTruth(file)
	if err == nil && f.guid != hex.EncodeToString(guid) {
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
	return &truthLog{file: dataFile{file}, now: now, last: f.last}, nil
}

// note appends an event that nothing depends on, without syncing it.
func (l *truthLog) note(name string) { _ = l.write(event{Event: name}) }

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
	e.PINLeft, e.UnlockLeft = l.last.after(e)
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
