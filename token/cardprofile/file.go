package cardprofile

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/inkan-project/inkan/token"
)

// file is a profile as it is written. What is not set is nil where zero would
// mean something.
type file struct {
	Name            string   `toml:"name"`
	Application     string   `toml:"application"`
	Limit           int      `toml:"limit"`
	UnlockLimit     int      `toml:"unlock_limit"`
	EmptyVerifySafe bool     `toml:"empty_verify_safe"`
	ExtendedLength  bool     `toml:"extended_length"`
	Cards           []string `toml:"cards"`
	OnlyByName      bool     `toml:"only_by_name"`
	ATR             []struct {
		Value string  `toml:"value"`
		Mask  *string `toml:"mask"`
	} `toml:"atr"`
	PIN        form `toml:"pin"`
	UnlockCode struct {
		form
		Defaults []string `toml:"defaults"`
	} `toml:"unlock_code"`
	Words struct {
		Wrong   []string `toml:"wrong"`
		Counted []string `toml:"counted"`
		Blocked []string `toml:"blocked"`
	} `toml:"words"`
}

// form is what a secret can look like.
type form struct {
	MinLength int    `toml:"min_length"`
	MaxLength int    `toml:"max_length"`
	Charset   string `toml:"charset"`
	PadTo     int    `toml:"pad_to"`
	PadByte   *int   `toml:"pad_byte"`
}

// Bounds on values.
const (
	maxLimit = 15 // the counter of 63Cx (ISO/IEC 7816-4 section 5.6)
	maxATR   = 33 // ISO/IEC 7816-3 section 8.2
	maxName  = 40
	// maxDefaults is far above the number of factory defaults of any card.
	maxDefaults = 16
)

// parse reads one profile strictly.
func parse(text []byte) (*profile, error) {
	var f file
	if err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(&f); err != nil {
		return nil, errors.New(Explain(err))
	}
	p := &profile{application: f.Application, onlyByName: f.OnlyByName}
	p.Name, p.Limit, p.UnlockLimit = f.Name, f.Limit, f.UnlockLimit
	p.EmptyVerifySafe, p.Extended = f.EmptyVerifySafe, f.ExtendedLength
	for _, step := range []func(*file, *profile) error{checkHead, readMatches, readSecrets, readWords} {
		if err := step(&f, p); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Explain says on one line where a TOML file is wrong that was read strictly:
// the configuration of the daemon is read in the same way.
func Explain(err error) string {
	if strict, ok := errors.AsType[*toml.StrictMissingError](err); ok {
		var all []string
		for _, e := range strict.Errors {
			row, column := e.Position()
			all = append(all, fmt.Sprintf("line %d, column %d: there is no setting %q", row, column, strings.Join(e.Key(), ".")))
		}
		return strings.Join(all, "; ")
	}
	if e, ok := errors.AsType[*toml.DecodeError](err); ok {
		row, column := e.Position()
		return fmt.Sprintf("line %d, column %d: %v", row, column, err)
	}
	return err.Error()
}

func checkHead(f *file, _ *profile) error {
	switch {
	case f.Name == "" || len(f.Name) > maxName:
		return fmt.Errorf("name must have 1 to %d characters", maxName)
	case f.Application == "":
		return fmt.Errorf("application is missing, for example %q", Applications()[0])
	case !slices.Contains(Applications(), f.Application):
		return fmt.Errorf("application = %q is not known; known: %s", f.Application, quoted(Applications()))
	case f.OnlyByName && (f.Application != PKCS11 || len(f.Cards) > 0 || len(f.ATR) > 0):
		return fmt.Errorf("only_by_name is for application %q, without cards and atr", PKCS11)
	case f.Limit < 1 || f.Limit > maxLimit:
		return fmt.Errorf("limit = %d is not within 1 and %d", f.Limit, maxLimit)
	case f.UnlockLimit < 1 || f.UnlockLimit > maxLimit:
		return fmt.Errorf("unlock_limit = %d is not within 1 and %d", f.UnlockLimit, maxLimit)
	}
	return nil
}

// quoted lists names for people.
func quoted(names []string) string {
	all := make([]string, 0, len(names))
	for _, n := range names {
		all = append(all, strconv.Quote(n))
	}
	return strings.Join(all, ", ")
}

func readMatches(f *file, p *profile) error {
	for _, card := range f.Cards {
		if card == "" {
			return errors.New("cards: a card identity is empty")
		}
		p.cards = append(p.cards, token.CardID(card))
	}
	for _, a := range f.ATR {
		value, err := unhex("atr.value", a.Value)
		if err != nil {
			return err
		}
		mask := allOnes(len(value))
		if a.Mask != nil {
			if mask, err = unhex("atr.mask", *a.Mask); err != nil {
				return err
			}
		}
		if len(mask) != len(value) || ones(mask) == 0 {
			return fmt.Errorf("atr.mask of %s must be as long and not all zero", a.Value)
		}
		for i := range value { // what does not count is written in one way
			value[i] &= mask[i]
		}
		p.atrs = append(p.atrs, pattern{value: value, mask: mask})
	}
	return nil
}

func unhex(name, text string) ([]byte, error) {
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil || len(b) < 2 || len(b) > maxATR {
		return nil, fmt.Errorf("%s = %q is not 2 to %d bytes in hexadecimal", name, text, maxATR)
	}
	return b, nil
}

func ones(mask []byte) (n int) {
	for _, b := range mask {
		n += bits.OnesCount8(b)
	}
	return n
}

// readWords takes status words that a card may use in its own way. Those with
// a meaning of their own on every card are refused: a profile could lock cards
// or give tries back with them.
func readWords(f *file, p *profile) error {
	seen := map[uint16]string{}
	read := func(name string, words []string, into *[]uint16, counts bool) error {
		for _, text := range words {
			w, err := parseWord(text, counts)
			if err != nil {
				return fmt.Errorf("words.%s: %w", name, err)
			}
			if other, twice := seen[w]; twice {
				return fmt.Errorf("words.%s: %s is in %s already", name, text, other)
			}
			seen[w] = name
			*into = append(*into, w)
		}
		return nil
	}
	if err := read("wrong", f.Words.Wrong, &p.Words.Wrong, false); err != nil {
		return err
	}
	if err := read("counted", f.Words.Counted, &p.Words.Counted, true); err != nil {
		return err
	}
	if err := read("blocked", f.Words.Blocked, &p.Words.Blocked, false); err != nil {
		return err
	}
	if slices.Contains(p.Words.Wrong, noneLeft) {
		return errors.New("words.wrong: 63C0 means that no try is left")
	}
	return nil
}

// noneLeft is 63C0: cards that never answer 6983 say by it that they are
// locked.
const noneLeft = 0x63C0

// parseWord reads a status word that may say something about a PIN: 63xx or
// 69xx or 6Axx, but none that every card means alike. One that counts ends in
// an x, in the place of the number.
func parseWord(text string, counts bool) (uint16, error) {
	digits, counted := strings.CutSuffix(text, "x")
	if counted {
		digits += "0"
	}
	n, err := strconv.ParseUint(digits, 16, 16)
	if err != nil || len(text) != 4 || counted != counts {
		if counts {
			return 0, fmt.Errorf("%q is no status word such as \"630x\"", text)
		}
		return 0, fmt.Errorf("%q is no status word such as \"6985\"", text)
	}
	w := uint16(n)
	about := w>>8 == 0x63 || !counts && (w>>8 == 0x69 || w>>8 == 0x6A)
	counter := w&0xFFF0 == noneLeft && (w != noneLeft || counts)
	if !about || counter || w == 0x6983 || w == 0x6984 {
		return 0, fmt.Errorf("%s says nothing of a PIN that only this card would say", text)
	}
	return w, nil
}
