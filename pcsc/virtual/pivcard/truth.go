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
	eventSign       = "sign"        // GENERAL AUTHENTICATE: a signature
	eventDecipher   = "decipher"    // GENERAL AUTHENTICATE with the key management key
	eventAdmin      = "admin"       // GENERAL AUTHENTICATE with the management key
	eventSetAdmin   = "set-admin"   // SET MANAGEMENT KEY
	eventPut        = "put"         // PUT DATA
	eventGenerate   = "generate"    // GENERATE ASYMMETRIC KEY PAIR
	eventCommand    = "command"     // any command, when it was answered
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
	Object     string    `json:"object,omitempty"` // tag
	INS        string    `json:"ins,omitempty"`    // of a command
	Input      string    `json:"input_sha256,omitempty"`
	Signature  string    `json:"signature_sha256,omitempty"`
	GUID       string    `json:"guid,omitempty"`      // in the first line, whose tries are the limits
	Uncounted  bool      `json:"uncounted,omitempty"` // in the first line: the card counts no tries
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
	Replaced       int // of these and the RESET RETRY COUNTERs, those that the card took
	Resets         int // resets and power-ons
	Admissions     int // proofs of the management key, right or wrong
	Changed        int // keys made, objects put, management keys set
	Deciphers      int // operations of the key management key
	Signatures     []Signature
	// Commands is how often each instruction was answered, GET RESPONSE and
	// the parts of a chain each for itself; from the same card, so that the
	// commands of a signature are the difference between two readings. Cards
	// made before this was counted have none.
	Commands   map[byte]int
	PINLeft    int
	UnlockLeft int
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
	truth  Truth
	last   event
	limits limits
	guid   string
	size   int64 // bytes in complete lines
}

// limits are what the first line says of tries.
type limits struct {
	pin, unlock int
	uncounted   bool
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
	if e.Seq == 1 {
		f.guid, f.limits = e.GUID, limits{e.PINLeft, e.UnlockLeft, e.Uncounted}
		if !f.limits.possible() {
			return fmt.Errorf("%w: limits %d and %d", ErrDamaged, e.PINLeft, e.UnlockLeft)
		}
	}
	pin, unlock := f.limits.after(f.last, e)
	if e.PINLeft != pin || e.UnlockLeft != unlock || pin < 0 || unlock < 0 {
		return fmt.Errorf("%w: tries %d and %d, should be %d and %d", ErrDamaged, e.PINLeft, e.UnlockLeft, pin, unlock)
	}
	f.last = e
	f.truth.count(e)
	return nil
}

func (l limits) possible() bool {
	return min(l.pin, l.unlock) >= 1 && max(l.pin, l.unlock) <= maxLimit
}

// after returns the tries that are left when e follows last.
func (l limits) after(last, e event) (pin, unlock int) {
	pin, unlock = last.PINLeft, last.UnlockLeft
	switch e.Event {
	case eventMade:
		return l.pin, l.unlock
	case eventStatus, eventVerify, eventChange, eventResetRetry:
		switch {
		case e.SW != noStatusWord || l.uncounted: // refused before any comparison
		case e.Ref == referencePIN:
			pin--
		case e.Ref == referenceUnlock:
			unlock--
		}
	case eventVerify + resultSuffix, eventChange + resultSuffix:
		switch {
		case e.SW != statusWordOK:
		case e.Ref == referencePIN:
			pin = l.pin
		case e.Ref == referenceUnlock:
			unlock = l.unlock
		}
	case eventResetRetry + resultSuffix:
		if e.SW == statusWordOK {
			return l.pin, l.unlock
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
	case eventAdmin:
		t.Admissions++
	case eventGenerate, eventPut, eventSetAdmin:
		t.Changed++
	case eventDecipher:
		t.Deciphers++
	case eventCommand:
		if ins, err := hex.DecodeString(e.INS); err == nil && len(ins) == 1 {
			if t.Commands == nil {
				t.Commands = map[byte]int{}
			}
			t.Commands[ins[0]]++
		}
	case eventSign:
		t.Signatures = append(t.Signatures, Signature{Slot: e.Slot, InputSHA256: e.Input, SignatureSHA256: e.Signature})
	}
	if e.SW == statusWordOK && (e.Event == eventChange+resultSuffix || e.Event == eventResetRetry+resultSuffix) {
		t.Replaced++
	}
	if e.Ref == referenceUnlock && (e.Event == eventResetRetry || e.Event == eventChange) {
		t.UnlockVerifies++
	}
}
