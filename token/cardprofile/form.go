package cardprofile

import (
	"errors"
	"fmt"
	"slices"

	"github.com/inkan-project/inkan/token"
)

// charset returns a set of characters that a secret may be made of; the empty
// one is not among them. All are ASCII: what a reader makes of others is not
// known.
func charset(name string) (allowed func(byte) bool, known bool) {
	switch name {
	case "digits":
		return isDigit, true
	case "letters and digits":
		return func(b byte) bool { return isDigit(b) || isLetter(b) }, true
	case "printable ASCII":
		return func(b byte) bool { return b > ' ' && b <= '~' }, true
	case "printable ASCII and spaces":
		return isPrintable, true
	}
	return nil, false
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

func isLetter(b byte) bool { return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' }

func isPrintable(b byte) bool { return b >= ' ' && b <= '~' }

// readSecrets reads what PIN and unlock code can look like. Both stand in one
// command (RESET RETRY COUNTER), where a card tells them apart by their length.
func readSecrets(f *file, p *profile) (err error) {
	if p.PIN, err = f.PIN.read("pin"); err != nil {
		return err
	}
	if p.UnlockCode, err = f.UnlockCode.read("unlock_code"); err != nil {
		return err
	}
	if p.UnlockCode.PadTo != p.PIN.PadTo || p.UnlockCode.Pad != p.PIN.Pad {
		return errors.New("unlock_code.pad_to and unlock_code.pad_byte must be those of pin")
	}
	return readDefaults(f.UnlockCode.Defaults, p)
}

// read checks the form of the secret with this name.
func (f *form) read(name string) (token.PINFormat, error) {
	allowed, known := charset(f.Charset)
	switch {
	case f.MinLength < 1 || f.MaxLength < f.MinLength || f.MaxLength > token.PINCapacity:
		return token.PINFormat{}, fmt.Errorf("%s: lengths %d to %d are not within 1 and %d", name, f.MinLength, f.MaxLength, token.PINCapacity)
	case !known:
		return token.PINFormat{}, fmt.Errorf(
			`%s.charset = %q is none of "digits", "letters and digits", "printable ASCII", "printable ASCII and spaces"`, name, f.Charset)
	case f.PadTo != 0 && (f.PadTo < f.MaxLength || f.PadTo > token.PINCapacity):
		return token.PINFormat{}, fmt.Errorf("%s.pad_to = %d is not within max_length and %d", name, f.PadTo, token.PINCapacity)
	case (f.PadTo != 0) != (f.PadByte != nil):
		return token.PINFormat{}, fmt.Errorf("%s.pad_to and %s.pad_byte go together", name, name)
	}
	format := token.PINFormat{
		MinLength: f.MinLength, MaxLength: f.MaxLength, Charset: f.Charset,
		Allowed: allowed, PadTo: f.PadTo,
	}
	if f.PadByte == nil {
		return format, nil
	}
	pad := *f.PadByte
	if pad < 0 || pad > 0xFF || allowed(byte(pad)) {
		return token.PINFormat{}, fmt.Errorf("%s.pad_byte = %d is no byte, or one that the secret may have", name, pad)
	}
	format.Pad = byte(pad)
	return format, nil
}

// readDefaults takes the factory defaults. One that can be no unlock code of
// this card would never be recognised.
func readDefaults(defaults []string, p *profile) error {
	if len(defaults) > maxDefaults {
		return fmt.Errorf("unlock_code.defaults are more than %d", maxDefaults)
	}
	for i, code := range defaults {
		fits := len(code) >= p.UnlockCode.MinLength && len(code) <= p.UnlockCode.MaxLength
		for _, b := range []byte(code) {
			fits = fits && p.UnlockCode.Allowed(b)
		}
		if !fits {
			return fmt.Errorf("unlock_code.defaults: %q can be no unlock code of this card", code)
		}
		if slices.Contains(defaults[:i], code) {
			return fmt.Errorf("unlock_code.defaults: %q is there twice", code)
		}
	}
	p.DefaultUnlockCodes = defaults
	return nil
}
