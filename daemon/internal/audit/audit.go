// Package audit is the log: one record for everything that was asked of a
// card and how it ended.
//
// It guarantees that a record is durable when [Log.Append] returns, that the
// records of a log form one chain in which an edited, swapped, missing or
// repeated one is named by its sequence, and that a log which once could not be
// written stays closed until the service is started again. A chain cannot show
// that its newest records were cut off: whoever owns the log compares
// [Log.Count] with a count kept elsewhere.
//
// A caller appends the intent before it acts and the result before it lets
// anything out, does nothing when Append fails, and closes what
// [Log.OpenIntents] returns at the next start.
package audit

import (
	"time"

	"github.com/inkan-project/inkan/token"
)

// Kind says what a record is about. It is written to the log: values never
// change.
type Kind string

// Kinds of record.
const (
	KindStart   Kind = "start"   // the service started
	KindStop    Kind = "stop"    // the service stopped in order
	KindIntent  Kind = "intent"  // about to act; a result follows
	KindResult  Kind = "result"  // how an intent ended
	KindRefused Kind = "refused" // refused before anything was sent to a card
	KindEvent   Kind = "event"   // found out of order
)

// known reports whether k is one of the kinds above.
func (k Kind) known() bool {
	switch k {
	case KindStart, KindStop, KindIntent, KindResult, KindRefused, KindEvent:
		return true
	}
	return false
}

// Outcome is how an intent ended. It is written to the log: values never
// change.
type Outcome string

// Outcomes of a result.
const (
	OutcomeOK      Outcome = "OK"
	OutcomeFailed  Outcome = "FAILED"
	OutcomeUnknown Outcome = "UNKNOWN" // a crash came between intent and result
)

// Record is one entry of the log. Absent values are zero.
type Record struct {
	Sequence     uint64    // position, from 1 without gaps; set by Append
	Time         time.Time // wall clock of this PC, UTC; set by Append
	Kind         Kind
	Operation    string // use case: "sign", "verify"; at most 64 characters
	Intent       uint64 // for a result: sequence of its intent
	Outcome      Outcome
	Code         string // token.Kind of a refusal or failure
	HasUID       bool   // false for the service itself
	UID          uint32 // user of the caller, as the kernel says
	PID          int32  // process of the caller at the time
	Program      string // executable of the caller; at most 4096 characters
	Card         token.CardID
	Key          token.KeyID
	Algorithm    string
	Digest       []byte      // that was signed, or was to be; at most 64 bytes
	DocumentName string      // as given by the program; at most 256 characters
	Tries        token.Tries // left after it
	Virtual      bool        // the card is virtual
	Detail       string      // words for people; at most 1024 characters
	Request      *Request    // what the caller calls the request, or nil
	Answer       []byte      // JSON of what was answered to it; at most MaxAnswer bytes
	Together     uint8       // with how many records it was written, itself among them; 0: alone; set by Append
	Hash         [32]byte    // chains this record to the one before; set by Append
}

// Request is what a caller calls its request, so that one that is asked twice
// is done once.
type Request struct {
	ID      string   // at most 64 characters
	Content [32]byte // hash of what was asked for
}

// MaxAnswer is the longest answer that a record holds, in bytes.
const MaxAnswer = 8 << 10

// Filter selects records.
type Filter struct {
	UID    *uint32 // only records of this user
	After  uint64  // only records with a higher sequence
	Limit  int     // at most so many, 1 to 1000; 0 = 100
	Newest bool    // the last Limit records instead of the first
}

// Limits of one page of records.
const (
	defaultLimit = 100
	maxLimit     = 1000
)

// bounded returns f with a limit in range.
func (f Filter) bounded() Filter {
	if f.Limit <= 0 {
		f.Limit = defaultLimit
	}
	f.Limit = min(f.Limit, maxLimit)
	return f
}
