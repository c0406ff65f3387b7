package token

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
)

// Layout of the page behind a PIN: room for a command header in front, so
// that the whole APDU is built around the PIN without copying it.
const (
	// PINHeadroom is the number of bytes before the PIN in its page.
	PINHeadroom = 16
	// PINCapacity is the longest PIN, in bytes.
	PINCapacity = 64
	// PINPageMin is the smallest page a PIN can live in.
	PINPageMin = PINHeadroom + PINCapacity + PINHeadroom
)

// redacted is all that a PIN ever prints.
const redacted = "[PIN]"

// PIN is secret bytes in a page that its maker locked into memory. It is
// never copied: commands to the card are built in the same page. It prints as
// "[PIN]" whatever the verb, and must be wiped by whoever asked for it.
//
// A PIN belongs to one goroutine at a time and is passed by pointer; go vet
// reports copies. A copy made nevertheless shares the page, so that wiping one
// wipes both, and prints the address of some code.
type PIN struct {
	_ noCopy
	// secret is nil in the zero PIN, which counts as wiped. It is a function
	// because nothing prints what a function holds: fmt does not call the
	// methods of *PIN for a value or an unexported field, and follows a mere
	// pointer there when the verb does not fit ("%s" and others).
	secret func() *secretPage
}

type secretPage struct {
	page    []byte
	length  int
	release func()
}

// noCopy makes go vet (copylocks) report copies of what holds it.
type noCopy struct{}

func (*noCopy) Lock()   {}
func (*noCopy) Unlock() {}

// NewPIN takes a page in which length secret bytes stand at offset
// [PINHeadroom]. release gives the page back after it was zeroed.
func NewPIN(page []byte, length int, release func()) (*PIN, error) {
	if len(page) < PINPageMin {
		return nil, errors.New("page too small for a PIN")
	}
	if length < 0 || length > PINCapacity {
		return nil, errors.New("PIN length out of range")
	}
	s := &secretPage{page: page, length: length, release: release}
	return &PIN{secret: func() *secretPage { return s }}, nil
}

// Len returns the length in bytes, 0 once it is wiped.
func (p *PIN) Len() int {
	if p.wiped() {
		return 0
	}
	return p.secret().length
}

func (p *PIN) wiped() bool { return p == nil || p.secret == nil || p.secret().page == nil }

// Check returns a [*Error] of kind [KindPINMalformed] unless the PIN can be a
// PIN of this format. The empty PIN is always refused: to a card it is a
// question, not a PIN. The error never says which byte was wrong.
func (p *PIN) Check(f PINFormat) error {
	n := p.Len()
	if n == 0 {
		return Errorf(KindPINMalformed, "it is empty")
	}
	ok := true
	for _, b := range p.secret().page[PINHeadroom : PINHeadroom+n] { // all of them: no early end to time
		ok = f.Allowed(b) && ok
	}
	if !ok {
		return Errorf(KindPINMalformed, "only %s are allowed", f.Charset)
	}
	if n < f.MinLength || n > f.MaxLength { // after the characters: full-width ones have three bytes each
		return Errorf(KindPINMalformed, "it must have %d to %d characters", f.MinLength, f.MaxLength)
	}
	return nil
}

// Command builds header, PIN and padding in place and returns the slice that
// holds them. header is at most [PINHeadroom] bytes; the PIN is padded to
// padTo bytes with pad (padTo 0: no padding). The slice dies with [PIN.Wipe]
// and is overwritten by the next Command. An empty PIN gives an error: padding
// alone would be a wrong PIN, nothing at all a question.
func (p *PIN) Command(header []byte, padTo int, pad byte) ([]byte, error) {
	if p.wiped() {
		return nil, errors.New("PIN is wiped")
	}
	n, page := p.secret().length, p.secret().page
	if n == 0 {
		return nil, errors.New("PIN is empty")
	}
	if len(header) > PINHeadroom || padTo > PINCapacity || padTo != 0 && padTo < n {
		return nil, errors.New("PIN command does not fit its page")
	}
	start, end := PINHeadroom-len(header), PINHeadroom+n
	copy(page[start:], header)
	for ; end < PINHeadroom+padTo; end++ {
		page[end] = pad
	}
	return page[start:end:end], nil
}

// Wipe zeroes the page and gives it back. It may be called more than once,
// and on nil.
func (p *PIN) Wipe() {
	if p.wiped() {
		return
	}
	s := p.secret()
	clear(s.page)
	runtime.KeepAlive(s.page)
	s.page, s.length = nil, 0
	if s.release != nil {
		s.release()
	}
}

// String implements fmt.Stringer.
func (p *PIN) String() string { return redacted }

// GoString implements fmt.GoStringer, for %#v.
func (p *PIN) GoString() string { return redacted }

// Format implements fmt.Formatter, so that no verb (%x, %d, …) reaches the
// fields.
func (p *PIN) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// LogValue implements slog.LogValuer.
func (p *PIN) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON implements json.Marshaler.
func (p *PIN) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText implements encoding.TextMarshaler.
func (p *PIN) MarshalText() ([]byte, error) { return []byte(redacted), nil }
