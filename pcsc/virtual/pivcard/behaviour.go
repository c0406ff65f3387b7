package pivcard

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/inkan-project/inkan/pcsc/apdu"
)

// Behaviour is where cards differ from each other and from the standard. The
// zero value is SP 800-73-5 to the letter with ten tries; the others imitate
// cards that are in use. It is part of the card: it is fixed when the card is
// made, and a number of tries cannot be raised afterwards.
type Behaviour struct {
	// Limit and UnlockLimit are the wrong entries in a row that lock; 0 = Tries.
	Limit       int `json:"limit,omitempty"`
	UnlockLimit int `json:"unlock_limit,omitempty"`
	// NeverLocks: the card counts no tries at all.
	NeverLocks bool `json:"never_locks,omitempty"`

	// Wrong answers a wrong PIN, "" = 63Cx. LastWrong answers the last one that
	// is allowed, "" = as Wrong; Blocked each one after it, "" = 6983.
	Wrong     Word `json:"wrong,omitempty"`
	LastWrong Word `json:"last_wrong,omitempty"`
	Blocked   Word `json:"blocked,omitempty"`
	// EmptyVerify answers VERIFY without data, whatever the state; "" = as SP
	// 800-73-5 part 2 section 3.2.1 says, counting as Wrong does.
	EmptyVerify Word `json:"empty_verify,omitempty"`
	// EmptyVerifyBurns: VERIFY without data is a wrong PIN like any other.
	EmptyVerifyBurns bool `json:"empty_verify_burns,omitempty"`

	// Pieces: an answer of more than 256 bytes comes in pieces, by 61xx, even
	// after a command with extended length.
	Pieces bool `json:"pieces,omitempty"`
	// ShortOnly: a command with extended length fields is refused (6700).
	ShortOnly bool `json:"short_only,omitempty"`
	// T0 behaves as over T=0 (ISO/IEC 7816-3 section 12): no command carries
	// data both ways, the answer waits for GET RESPONSE (61xx).
	T0 bool `json:"t0,omitempty"`
	// ExactLe: a command that reads must ask for exactly what there is (6Cxx).
	ExactLe bool `json:"exact_le,omitempty"`
	// DelayMS is how long the card thinks about each command, in milliseconds.
	DelayMS int `json:"delay_ms,omitempty"`
	// Silent: the card does what a command with a secret or for a signature
	// says, and gives no answer: what a reader that fails just then looks like.
	Silent bool `json:"silent,omitempty"`
}

// silences reports whether the card keeps its answer to a command for itself.
func (b Behaviour) silences(command []byte) bool {
	const headerAndLength = 5 // more than that carries data
	if !b.Silent || len(command) <= headerAndLength {
		return false
	}
	switch command[1] {
	case insVerify, insChangeReferenceData, insResetRetryCounter, insGeneralAuthenticate:
		return true
	}
	return false
}

// Word is a status word as four hexadecimal digits. The last may be an x: the
// number of tries left stands there.
type Word string

// counterDigit is where a Word shows the tries left.
const counterDigit = "x"

// parse returns the status word and whether its last digit counts.
func (w Word) parse() (sw apdu.SW, counts bool, err error) {
	digits, counts := strings.CutSuffix(string(w), counterDigit)
	if counts {
		digits += "0"
	}
	n, err := strconv.ParseUint(digits, 16, 16)
	if err != nil || len(w) != 4 {
		return 0, false, fmt.Errorf("%q is no status word such as 6983 or 63Cx", string(w))
	}
	return apdu.SW(n), counts, nil
}

// at returns the status word with so many tries left, or that of another word
// when this one is not set.
func (w Word) at(left int, otherwise Word) apdu.SW {
	if w == "" {
		w = otherwise
	}
	sw, counts, err := w.parse()
	if err != nil { // checked when the card was opened
		return apdu.SWNoDiagnosis
	}
	if counts {
		sw |= apdu.SW(left & 0x0F)
	}
	return sw
}

// Words of the standard (SP 800-73-5 part 2 section 3.2.1).
const (
	wordWrong   Word = "63Cx"
	wordBlocked Word = "6983"
)

// maxLimit is what fits the counter of 63Cx (ISO/IEC 7816-4 section 5.6).
const maxLimit = 15

// maxDelay is the longest that a card thinks about a command.
const maxDelay = time.Minute

func (b Behaviour) check() error {
	if min(b.Limit, b.UnlockLimit) < 0 || max(b.Limit, b.UnlockLimit) > maxLimit {
		return fmt.Errorf("behaviour: limits %d and %d are not within 1 and %d", b.Limit, b.UnlockLimit, maxLimit)
	}
	if b.DelayMS < 0 || b.delay() > maxDelay {
		return fmt.Errorf("behaviour: a delay of %d ms is not within 0 and %v", b.DelayMS, maxDelay)
	}
	if b.EmptyVerifyBurns && (b.EmptyVerify != "" || b.NeverLocks) {
		return errors.New("behaviour: empty_verify_burns does not go with empty_verify and never_locks")
	}
	for name, w := range map[string]Word{"wrong": b.Wrong, "last_wrong": b.LastWrong, "blocked": b.Blocked, "empty_verify": b.EmptyVerify} {
		if w == "" {
			continue
		}
		sw, _, err := w.parse()
		if err != nil {
			return fmt.Errorf("behaviour: %s: %w", name, err)
		}
		if sw == apdu.SWOK {
			return fmt.Errorf("behaviour: %s must not be 9000", name)
		}
	}
	return nil
}

func (b Behaviour) limit() int           { return orTries(b.Limit) }
func (b Behaviour) unlockLimit() int     { return orTries(b.UnlockLimit) }
func (b Behaviour) wrong() Word          { return orWord(b.Wrong, wordWrong) }
func (b Behaviour) lastWrong() Word      { return orWord(b.LastWrong, b.wrong()) }
func (b Behaviour) delay() time.Duration { return time.Duration(b.DelayMS) * time.Millisecond }

func orTries(n int) int {
	if n == 0 {
		return Tries
	}
	return n
}

func orWord(w, otherwise Word) Word {
	if w == "" {
		return otherwise
	}
	return w
}

// variants are the kinds of cards that people meet, by name.
func variants() map[string]Behaviour {
	return map[string]Behaviour{
		"piv":                {},
		"limit-3":            {Limit: 3, UnlockLimit: 3},
		"limit-5":            {Limit: 5, UnlockLimit: 5},
		"limit-15":           {Limit: 15, UnlockLimit: 15},
		"last-blocked":       {LastWrong: "6983"},                  // other PIV and minidriver-type cards
		"never-6983":         {Blocked: "63C0"},                    // PKCS#15 applets
		"no-count":           {Wrong: "6982", EmptyVerify: "6982"}, // OpenPGP cards
		"cac":                {Wrong: "6985", EmptyVerify: "6A88", NeverLocks: true},
		"empty-verify-burns": {EmptyVerifyBurns: true},             // some ISO 7816 cards
		"wrong-6300":         {Wrong: "6300", EmptyVerify: "6300"}, // old keys
		"wrong-630x":         {Wrong: "630x"},                      // old keys
		"pieces":             {Pieces: true},
		"t0":                 {T0: true, ShortOnly: true, ExactLe: true},
		"exact-le":           {ExactLe: true},
		"slow":               {DelayMS: 200},
	}
}

// Variants returns the names of the behaviours that [Variant] knows.
func Variants() []string { return slices.Sorted(maps.Keys(variants())) }

// Variant returns a behaviour by its name.
func Variant(name string) (Behaviour, bool) {
	b, ok := variants()[name]
	return b, ok
}
