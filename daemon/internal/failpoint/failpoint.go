// Package failpoint names the moments at which a process may die, so that
// tests can kill it at each of them.
//
// It guarantees that a build without the tag "faults" has nothing of it: no
// name, no code, no environment variable that it looks at. A caller marks a
// moment with [Hit], and nothing else depends on it.
package failpoint

// Point is a moment on the way of a call.
type Point string

// Moments of a use of a card, in their order. Numbers are those of the fault
// catalogue.
const (
	Accepted      Point = "accepted"       // 1: a call came
	Identified    Point = "identified"     // 2: its caller is known
	Allowed       Point = "allowed"        // 3: the policy allows it
	BeforePrompt  Point = "before-prompt"  // 4
	Entered       Point = "entered"        // 5: a secret is in its page
	NewEntered    Point = "new-entered"    // a new PIN, too
	Queued        Point = "queued"         // 6: the card's goroutine has the job
	BeforeConnect Point = "before-connect" // 7
	Connected     Point = "connected"      // 8
	Selected      Point = "selected"       // 9: the card is identified
	TriesRead     Point = "tries-read"     // 10: 63Cx of the empty VERIFY
	BeforeIntent  Point = "before-intent"  // 11: before barrier 1
	HalfDebit     Point = "half-debit"     // 12: half of the slot is written
	DebitWritten  Point = "debit-written"  // 13: written, not synced
	DebitAlone    Point = "debit-alone"    // 14: debit durable, intent not
	IntentAlone   Point = "intent-alone"   // 15: intent durable, debit not
	BeforeSecret  Point = "before-secret"  // 16: both durable
	SecretSent    Point = "secret-sent"    // 17: the card has it, its answer is not read
	SecretRight   Point = "secret-right"   // 18: 9000
	SecretWrong   Point = "secret-wrong"   // 19: another answer, not recorded
	SignSent      Point = "sign-sent"      // 20
	Signed        Point = "signed"         // 21: the signature came
	Checked       Point = "checked"        // 22: it fits the public key
	HalfVerdict   Point = "half-verdict"   // 23
	VerdictAlone  Point = "verdict-alone"  // 24: verdict durable, result not
	ResultAlone   Point = "result-alone"   // 25: result durable, verdict not
	Recorded      Point = "recorded"       // 26: both durable, card not reset
	CardReset     Point = "card-reset"     // 27: answer not sent
	HalfAnswer    Point = "half-answer"    // 28: half of the answer is sent
)

// Moments of the events: a stop, a lift, an acknowledgement, an insertion.
const (
	StopSet    Point = "stop-set"    // nothing new begins, nothing is written
	EventAlone Point = "event-alone" // the record is durable, its slot is not
	MarkAlone  Point = "mark-alone"  // the slot is durable, the record is not
	EventDone  Point = "event-done"  // both are, nobody was told
)
