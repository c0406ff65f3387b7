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
// A PIN belongs to one goroutine at a time.
type PIN struct {
	page    []byte
	length  int
	release func()
}

// NewPIN takes a page in which length secret bytes stand at offset
// [PINHeadroom]. release gives the page back after it was zeroed.
func NewPIN(page []byte, length int, release func()) (*PIN, error) {
	if len(page) < PINPageMin {
		return nil, errors.New("page too small for a PIN")
	}
	if length < 0 || length > PINCapacity {
		return nil, errors.New("PIN length out of range")
	}
	return &PIN{page: page, length: length, release: release}, nil
}

// Len returns the length in bytes.
func (p *PIN) Len() int { return p.length }

// Check returns a [*Error] of kind [KindPINMalformed] unless the PIN can be a
// PIN of this format. The empty PIN is always refused: to a card it is a
// question, not a PIN. The error never says which byte was wrong.
func (p *PIN) Check(f PINFormat) error {
	if p.length == 0 {
		return Errorf(KindPINMalformed, "it is empty")
	}
	if p.length < f.MinLength || p.length > f.MaxLength {
		return Errorf(KindPINMalformed, "it must have %d to %d characters", f.MinLength, f.MaxLength)
	}
	ok := true
	for _, b := range p.page[PINHeadroom : PINHeadroom+p.length] {
		ok = f.Allowed(b) && ok
	}
	if !ok {
		return Errorf(KindPINMalformed, "only %s are allowed", f.Charset)
	}
	return nil
}

// Command builds header, PIN and padding in place and returns the slice that
// holds them. header is at most [PINHeadroom] bytes; the PIN is padded to
// padTo bytes with pad (padTo 0: no padding). The slice dies with [PIN.Wipe].
func (p *PIN) Command(header []byte, padTo int, pad byte) ([]byte, error) {
	if p.page == nil {
		return nil, errors.New("PIN is wiped")
	}
	if len(header) > PINHeadroom || padTo > PINCapacity || padTo != 0 && padTo < p.length {
		return nil, errors.New("PIN command does not fit its page")
	}
	start := PINHeadroom - len(header)
	copy(p.page[start:], header)
	end := PINHeadroom + p.length
	for ; end < PINHeadroom+padTo; end++ {
		p.page[end] = pad
	}
	return p.page[start:end], nil
}

// Wipe zeroes the page and gives it back. It may be called more than once,
// and on nil.
func (p *PIN) Wipe() {
	if p == nil || p.page == nil {
		return
	}
	clear(p.page)
	runtime.KeepAlive(p.page)
	p.page, p.length = nil, 0
	if p.release != nil {
		p.release()
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
