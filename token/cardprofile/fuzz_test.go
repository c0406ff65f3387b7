package cardprofile

import (
	"slices"
	"testing"

	"github.com/inkan-project/inkan/token"
)

// FuzzParse: whatever is taken for a profile cannot lock cards or give tries
// back.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"piv", "piv-extended"} {
		text, err := shipped.ReadFile("shipped/" + name + suffix)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
		f.Add(append(text, "\n[words]\nwrong = [\"6985\"]\ncounted = [\"630x\"]\nblocked = [\"63C0\"]\n"...))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := parse(text)
		if err != nil {
			return
		}
		if p.Limit < 1 || p.Limit > maxLimit || p.UnlockLimit < 1 || p.UnlockLimit > maxLimit {
			t.Errorf("limits %d and %d", p.Limit, p.UnlockLimit)
		}
		if pin := p.PIN; pin.MinLength < 1 || pin.MaxLength > token.PINCapacity || pin.Allowed == nil || pin.Allowed(0) || pin.PadTo > token.PINCapacity {
			t.Errorf("PIN format %+v", pin)
		}
		if code := p.UnlockCode; code.MinLength < 1 || code.MaxLength > token.PINCapacity || code.Allowed == nil || code.Allowed(0) ||
			code.PadTo != p.PIN.PadTo || code.Pad != p.PIN.Pad {
			t.Errorf("unlock code format %+v", code)
		}
		for _, code := range p.DefaultUnlockCodes {
			if len(code) < p.UnlockCode.MinLength || len(code) > p.UnlockCode.MaxLength {
				t.Errorf("factory default %q", code)
			}
		}
		for _, w := range slices.Concat(p.Words.Wrong, p.Words.Counted, p.Words.Blocked) {
			if w == 0x9000 || w == 0x6983 || w == 0x6984 || w > 0x63C0 && w <= 0x63CF {
				t.Errorf("word %04X", w)
			}
		}
		for _, a := range p.atrs {
			if !a.matches(a.value) || a.matches(nil) {
				t.Errorf("pattern %X does not match itself", a.value)
			}
		}
	})
}
