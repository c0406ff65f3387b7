// Package cardprofile says what kinds of cards there are and what must be known
// of each beforehand, as data: small TOML files, some of them shipped inside.
//
// It guarantees that a file is either understood to the last key or refused
// with its line, that no two profiles claim the same cards, and that a card
// which fits none gets the strictest one: nothing asked, three tries. A caller
// must take the profile of a card from [Set.For] before it sends a secret.
package cardprofile

import (
	"bytes"
	"cmp"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/inkan-project/inkan/token"
)

// shipped are the profiles that come with the program.
//
//go:embed shipped/*.toml
var shipped embed.FS

// PIV is the application of SP 800-73-5.
const PIV = "PIV"

// PKCS11 is what a PKCS#11 module says of a card.
const PKCS11 = "PKCS#11"

// Applications returns the names that a profile may have as its application,
// exactly so: a profile for another one would never be chosen, and whoever
// wrote it would not be told.
func Applications() []string { return []string{PIV, PKCS11} }

// Bounds on a folder of profiles.
const (
	suffix      = ".toml"
	maxFile     = 64 << 10 // bytes
	maxProfiles = 256
)

// profile is a file, checked.
type profile struct {
	token.Profile
	source      string // where it stands, for errors
	application string
	atrs        []pattern
	cards       []token.CardID
	onlyByName  bool // chosen by the configuration of a PKCS#11 module alone
}

// pattern is an ATR in which only the bits of the mask count.
type pattern struct{ value, mask []byte }

func (p pattern) matches(atr []byte) bool {
	if len(atr) != len(p.value) {
		return false
	}
	for i, b := range atr {
		if (b^p.value[i])&p.mask[i] != 0 {
			return false
		}
	}
	return true
}

// general reports whether a profile is for all cards of its application.
func (p *profile) general() bool { return len(p.atrs) == 0 && len(p.cards) == 0 && !p.onlyByName }

// Set is all profiles. It does not change once made.
type Set struct{ profiles []*profile }

// Shipped returns the profiles that come with the program.
func Shipped() (*Set, error) { return Load("") }

// Load returns the shipped profiles and those in a folder; one of the folder
// takes the place of a shipped one of the same name. The folder "" holds none;
// any other must be there. Errors are [*token.Error] of kind
// [token.KindConfigInvalid] and name file and line.
func Load(dir string) (*Set, error) {
	all, err := read(shipped, "shipped")
	if err != nil {
		return nil, invalid(err)
	}
	if dir != "" {
		own, err := readOwn(dir)
		if err != nil {
			return nil, invalid(fmt.Errorf("card profiles in %s: %w", dir, err))
		}
		all = slices.DeleteFunc(all, func(s *profile) bool {
			return slices.ContainsFunc(own, func(o *profile) bool { return o.Name == s.Name })
		})
		all = append(all, own...)
	}
	// The order decides between patterns that match equally well: the
	// stricter profile comes first.
	slices.SortFunc(all, func(a, b *profile) int {
		return cmp.Or(cmp.Compare(free(a), free(b)), cmp.Compare(a.Limit, b.Limit), cmp.Compare(a.Name, b.Name))
	})
	if err := checkClaims(all); err != nil {
		return nil, invalid(err)
	}
	return &Set{profiles: all}, nil
}

func free(p *profile) int {
	if p.EmptyVerifySafe {
		return 1
	}
	return 0
}

func invalid(err error) error { return token.Errorf(token.KindConfigInvalid, "%v", err).Because(err) }

// readOwn reads the profiles of the administrator's folder, if there is one.
func readOwn(dir string) ([]*profile, error) {
	return read(os.DirFS(dir), ".")
}

// read reads the profiles of a folder.
func read(folder fs.FS, name string) ([]*profile, error) {
	entries, err := fs.ReadDir(folder, name)
	if err != nil {
		return nil, err
	}
	var all []*profile
	for _, entry := range entries {
		if entry.IsDir() || !strings.HasSuffix(entry.Name(), suffix) {
			continue
		}
		if len(all) == maxProfiles {
			return nil, fmt.Errorf("there are more than %d", maxProfiles)
		}
		path := name + "/" + entry.Name()
		if name == "." {
			path = entry.Name()
		}
		text, err := readFile(folder, path)
		if err != nil {
			return nil, err
		}
		p, err := parse(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", entry.Name(), err)
		}
		p.source = entry.Name()
		all = append(all, p)
	}
	return all, nil
}

func readFile(folder fs.FS, path string) ([]byte, error) {
	info, err := fs.Stat(folder, path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%s is not a file of at most %d bytes", path, maxFile)
	}
	return fs.ReadFile(folder, path)
}

// checkClaims refuses profiles of which nobody could say which one is meant.
func checkClaims(all []*profile) error {
	claimed := map[string]string{}
	claim := func(p *profile, what string) error {
		if other, taken := claimed[what]; taken {
			return fmt.Errorf("card profiles: %s and %s are both for %s", other, p.source, what)
		}
		claimed[what] = p.source
		return nil
	}
	for _, p := range all {
		claims := []string{fmt.Sprintf("the name %q", p.Name)}
		if p.general() {
			claims = append(claims, fmt.Sprintf("all cards of application %q", p.application))
		}
		for _, card := range p.cards {
			claims = append(claims, fmt.Sprintf("card %s", card))
		}
		for _, a := range p.atrs {
			claims = append(claims, fmt.Sprintf("ATR %X with mask %X of application %q", a.value, a.mask, p.application))
		}
		for _, c := range claims {
			if err := claim(p, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// For returns the profile of a card: the one that names its identity, else the
// longest beginning of it ("piv-494e4b56*"), else the one whose ATR pattern fits with most bits, else the one for all cards of the
// application, else [Strictest]. A card that was not identified yet has no
// identity ("").
func (s *Set) For(application string, atr []byte, card token.CardID) token.Profile {
	var best *profile
	rank := -1
	for _, p := range s.profiles {
		if p.application != application {
			continue
		}
		if r := p.fit(atr, card); r > rank {
			best, rank = p, r
		}
	}
	if best == nil {
		return Strictest()
	}
	return best.copy()
}

// Named returns the profile with this name for what PKCS#11 modules know, and
// whether there is one.
func (s *Set) Named(name string) (token.Profile, bool) {
	for _, p := range s.profiles {
		if p.Name == name && p.application == PKCS11 {
			return p.copy(), true
		}
	}
	return token.Profile{}, false
}

// fit says how well a profile fits a card: -1 not at all, 0 as one of its
// application, above that the bits of the ATR, above these by identity.
func (p *profile) fit(atr []byte, card token.CardID) int {
	const byIdentity = 1 << 20 // more than all bits of an ATR
	best := -1
	for _, c := range p.cards {
		prefix, several := strings.CutSuffix(string(c), "*")
		switch {
		case card == "":
		case !several && c == card:
			return 2 * byIdentity
		case several && strings.HasPrefix(string(card), prefix):
			best = max(best, byIdentity+len(prefix))
		}
	}
	if p.general() {
		best = max(best, 0)
	}
	for _, a := range p.atrs {
		if a.matches(atr) {
			best = max(best, ones(a.mask))
		}
	}
	return best
}

// copy returns the profile so that nobody can change the set through it.
func (p *profile) copy() token.Profile {
	c := p.Profile
	c.Words = token.PINWords{
		Wrong: slices.Clone(p.Words.Wrong), Counted: slices.Clone(p.Words.Counted), Blocked: slices.Clone(p.Words.Blocked),
	}
	c.DefaultUnlockCodes = slices.Clone(p.DefaultUnlockCodes)
	return c
}

// Strictest is the profile of a card of which nothing is known: three tries,
// because few cards have less, and nothing that could cost one of them.
func Strictest() token.Profile {
	const tries = 3
	return token.Profile{
		Name: "strictest", Limit: tries, UnlockLimit: tries,
		PIN: token.PINFormat{MinLength: 6, MaxLength: 8, Charset: "digits", Allowed: isDigit, PadTo: 8, Pad: 0xFF},
		UnlockCode: token.PINFormat{
			MinLength: 6, MaxLength: 8, Charset: "printable ASCII and spaces", Allowed: isPrintable, PadTo: 8, Pad: 0xFF,
		},
		DefaultUnlockCodes: []string{"12345678", "00000000"},
	}
}

func allOnes(n int) []byte { return bytes.Repeat([]byte{0xFF}, n) }
