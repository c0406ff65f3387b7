package client

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/inkan-project/inkan/proto/catalogue"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// Error is why a call did not do what it should: what happened and the next
// step, for people, and what a program needs to branch. It is rebuilt from
// the details that inkand puts into the gRPC status.
type Error struct {
	// Reason is stable. REASON_UNSPECIFIED means that inkand is newer than
	// this package; Code and the texts are then still right.
	Reason inkanpb.Reason
	// Code is what people quote: "INK-1001".
	Code string
	// Message says what happened, in the language of the Client.
	Message string
	// Why says why this happens, in the language of the Client; empty for a
	// reason that this package does not know.
	Why string
	// Next says what to do now, in the language of the Client.
	Next string
	// Who says who can help, in the language of the Client; empty for a reason
	// that this package does not know.
	Who string
	// TriesLeft is the number of tries left, if TriesKnown: of the unlock code
	// for [ErrUnlockCodeWrong], else of the PIN.
	TriesLeft int
	// TriesKnown is false when the error is not about a PIN, or the number is
	// not known.
	TriesKnown bool
	// Metadata holds the values of the text, for example "card".
	Metadata map[string]string

	texts map[string]catalogue.Text // by language
	cause error
}

// NewError makes an Error that did not come from inkand, with the catalogue's
// text in this language, for programs that find a mistake before they ask.
func NewError(reason inkanpb.Reason, language string, metadata map[string]string) *Error {
	e := &Error{Reason: reason, Code: catalogue.Code(reason), Metadata: metadata, texts: map[string]catalogue.Text{}}
	for _, l := range []string{"ja", "en"} {
		e.texts[l] = catalogue.In(l, reason, metadata)
	}
	e.TriesLeft, e.TriesKnown = parseTries(metadata)
	e.lastTryNext()
	e.speak(language)
	return e
}

// speak sets the texts for people to those of a language.
func (e *Error) speak(language string) {
	if t, ok := e.texts[language]; ok {
		e.Message, e.Why, e.Next, e.Who = t.Message, t.Cause, t.Next, t.Who
	}
}

// lastTryNext replaces the next step of an error that took the last try: there
// is no next try, only the unlock code, and after that a new card.
func (e *Error) lastTryNext() {
	if !e.TriesKnown || e.TriesLeft > 0 {
		return
	}
	var now inkanpb.Reason
	switch e.Reason {
	case inkanpb.Reason_REASON_PIN_WRONG, inkanpb.Reason_REASON_PIN_NO_VERDICT:
		now = inkanpb.Reason_REASON_CARD_LOCKED
	case inkanpb.Reason_REASON_UNLOCK_CODE_WRONG:
		now = inkanpb.Reason_REASON_CARD_DEAD
	default:
		return
	}
	for l, t := range e.texts {
		locked := catalogue.In(l, now, nil)
		t.Next, t.Who = locked.Next, locked.Who
		e.texts[l] = t
	}
}

// Error implements error: code, what happened and what to do next.
func (e *Error) Error() string {
	s := e.Code + " " + e.Message
	if e.Next != "" {
		s += " " + e.Next
	}
	return s
}

// In returns what happened and what to do now in a language, "ja" or "en".
func (e *Error) In(language string) (message, next string) {
	t, ok := e.texts[language]
	if !ok {
		return e.Message, e.Next
	}
	return t.Message, t.Next
}

// Is makes errors.Is work with the sentinels of this package, and with
// [context.Canceled] and [context.DeadlineExceeded] for a call that its own
// context ended.
func (e *Error) Is(target error) bool {
	if r, ok := target.(reasonError); ok {
		return e.Reason == inkanpb.Reason(r)
	}
	if e.Reason != inkanpb.Reason_REASON_CALL_ENDED {
		return false
	}
	code := status.Code(e.cause)
	return target == context.Canceled && code == codes.Canceled ||
		target == context.DeadlineExceeded && code == codes.DeadlineExceeded
}

// Unwrap returns the cause: the gRPC status error for an error of inkand.
func (e *Error) Unwrap() error { return e.cause }

// because attaches a cause beside the one that is there.
func (e *Error) because(cause error) *Error {
	if cause != nil {
		e.cause = errors.Join(e.cause, cause)
	}
	return e
}

// fromStatus turns any error of a call into a *Error; nil stays nil.
func (c *Client) fromStatus(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	st := status.Convert(err)
	e := c.fromDetails(st)
	if e == nil {
		e = c.fromCode(st)
	}
	return e.because(st.Err())
}

// fromDetails rebuilds what inkand said; nil if the status is not inkand's.
func (c *Client) fromDetails(st *status.Status) *Error {
	var info *errdetails.ErrorInfo
	texts := map[string]catalogue.Text{}
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() == catalogue.Domain {
				info = d
			}
		case *errdetails.LocalizedMessage:
			message, next, _ := strings.Cut(d.GetMessage(), "\n")
			texts[d.GetLocale()] = catalogue.Text{Message: message, Next: next}
		}
	}
	if info == nil {
		return nil
	}
	e := NewError(catalogue.Find(info.GetReason()), c.language, info.GetMetadata())
	if code := info.GetMetadata()["code"]; code != "" {
		e.Code = code
	}
	for l, t := range texts { // inkand's own words win: it may be newer
		t.Cause, t.Who = e.texts[l].Cause, e.texts[l].Who
		e.texts[l] = t
	}
	e.lastTryNext()
	if e.speak(c.language); e.Message == "" {
		e.Message = st.Message()
	}
	return e
}

// fromCode explains an error that gRPC itself made, here or in inkand.
func (c *Client) fromCode(st *status.Status) *Error {
	detail := map[string]string{"detail": st.Message()}
	switch st.Code() {
	case codes.Unavailable:
		if c.lastDialErr.Load() != nil {
			return c.unreachable(c.dialError())
		}
		return c.unreachable(errConnectionLost)
	case codes.Canceled, codes.DeadlineExceeded:
		return NewError(inkanpb.Reason_REASON_CALL_ENDED, c.language, nil)
	case codes.Unimplemented:
		return NewError(inkanpb.Reason_REASON_METHOD_UNKNOWN, c.language, nil)
	case codes.ResourceExhausted:
		return NewError(inkanpb.Reason_REASON_MESSAGE_TOO_LARGE, c.language, nil)
	case codes.InvalidArgument:
		return NewError(inkanpb.Reason_REASON_REQUEST_INVALID, c.language, detail)
	default:
		return NewError(inkanpb.Reason_REASON_INTERNAL, c.language, detail)
	}
}

// closedError is that of a call after Close: the catalogue's words are about a
// call that may have done something.
func (c *Client) closedError() *Error {
	e := NewError(inkanpb.Reason_REASON_CALL_ENDED, c.language, nil)
	for l, now := range map[string][2]string{
		"en": {"The program has closed its connection to inkand before this call. Nothing was sent.", "Start the program again, or connect again in it."},
		"ja": {"この呼び出しの前に、プログラムがinkandへの接続を閉じました。何も送っていません。", "プログラムを起動し直すか、プログラムから接続し直してください。"},
	} {
		e.texts[l] = catalogue.Text{Message: now[0], Next: now[1], Who: e.texts[l].Who}
	}
	e.speak(c.language)
	return e.because(net.ErrClosed)
}

// parseTries reads metadata tries_left: a number, or "unknown".
func parseTries(metadata map[string]string) (left int, known bool) {
	n, err := strconv.Atoi(metadata["tries_left"])
	if err != nil || n < 0 {
		return 0, false
	}
	return n, true
}
