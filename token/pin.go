package token

import (
	"crypto/subtle"
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
	// PINPageMin is the smallest page a PIN can live in: the longest PIN, behind
	// it a second one ([PIN.CommandWith]), and room for a header on both sides.
	PINPageMin = PINHeadroom + 2*PINCapacity + PINHeadroom
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

// Command builds header, PIN and padding in place and returns the slice that
// holds them. header is at most [PINHeadroom] bytes; the PIN is padded to
// padTo bytes with pad (padTo 0: no padding). The slice dies with [PIN.Wipe]
// and is overwritten by the next Command. An empty PIN gives an error: padding
// alone would be a wrong PIN, nothing at all a question.
func (p *PIN) Command(header []byte, padTo int, pad byte) ([]byte, error) {
	if err := p.fits(header, padTo); err != nil {
		return nil, err
	}
	n, page := p.secret().length, p.secret().page
	start, end := PINHeadroom-len(header), PINHeadroom+max(n, padTo)
	copy(page[start:], header)
	fill(page[PINHeadroom+n:end], pad)
	return page[start:end:end], nil
}

// CommandWith builds header, PIN and a second PIN, each padded as by Command,
// in the page of p: the data field of CHANGE REFERENCE DATA and RESET RETRY
// COUNTER (ISO/IEC 7816-4 section 11.5, old and new side by side). Without
// padding the two follow each other directly; where one ends only the card
// knows, from the length of the first, which it has.
//
// The bytes of second go from its page to the page of p and nowhere else; there
// they stay until p is wiped. The slice dies with [PIN.Wipe] of p and is
// overwritten by the next Command or CommandWith. Wiped and empty PINs give an
// error, as with Command.
func (p *PIN) CommandWith(second *PIN, header []byte, padTo int, pad byte) ([]byte, error) {
	if err := second.fits(nil, padTo); err != nil {
		return nil, fmt.Errorf("second: %w", err)
	}
	command, err := p.Command(header, padTo, pad)
	if err != nil {
		return nil, err
	}
	page, behind := p.secret().page, second.secret()
	start := PINHeadroom - len(header)
	at := start + len(command)
	end := at + max(behind.length, padTo)
	// Byte by byte: copy would take eight or more at once through a register,
	// which the kernel saves on a stack when it interrupts.
	for i, b := range second.bytes() {
		page[at+i] = b
	}
	fill(page[at+behind.length:end], pad)
	return page[start:end:end], nil
}

// fits says why no command can be built.
func (p *PIN) fits(header []byte, padTo int) error {
	switch {
	case p.wiped():
		return errors.New("PIN is wiped")
	case p.Len() == 0:
		return errors.New("PIN is empty")
	case len(header) > PINHeadroom || padTo > PINCapacity || padTo != 0 && padTo < p.Len():
		return errors.New("PIN command does not fit its page")
	}
	return nil
}

func fill(page []byte, pad byte) {
	for i := range page {
		page[i] = pad
	}
}

// Equal reports whether both are the same PIN. How long it takes depends on
// the lengths alone. Wiped and empty PINs equal nothing, not even themselves.
func (p *PIN) Equal(other *PIN) bool {
	if p.Len() == 0 || p.Len() != other.Len() {
		return false
	}
	return subtle.ConstantTimeCompare(p.bytes(), other.bytes()) == 1
}

// EqualText reports whether this is a PIN or code that everybody knows, such as
// a factory default. How long it takes depends on the lengths alone.
func (p *PIN) EqualText(public string) bool {
	if p.Len() == 0 || p.Len() != len(public) {
		return false
	}
	return subtle.ConstantTimeCompare(p.bytes(), []byte(public)) == 1
}

// bytes returns the PIN where it stands. It must not be empty or wiped.
func (p *PIN) bytes() []byte {
	s := p.secret()
	return s.page[PINHeadroom : PINHeadroom+s.length]
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
