package daemontest

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
)

// variants are what an administrator's card profile says of each kind of card
// that differs from the standard in a way which inkand cannot find out, and how
// many wrong PINs inkand lets through.
func variants() map[string]variant {
	return map[string]variant{
		"piv":                {"limit = 10\nempty_verify_safe = true", 10},
		"limit-3":            {"limit = 3\nempty_verify_safe = true", 3},
		"limit-5":            {"limit = 5\nempty_verify_safe = true", 5},
		"limit-15":           {"limit = 15\nempty_verify_safe = true", 10},
		"last-blocked":       {"limit = 10\nempty_verify_safe = true", 10},
		"never-6983":         {"limit = 10\nempty_verify_safe = true\nwords.blocked = [\"63C0\"]", 10},
		"no-count":           {"limit = 10\nwords.wrong = [\"6982\"]", 10},
		"cac":                {"limit = 10\nempty_verify_safe = true\nwords.wrong = [\"6985\"]", 10},
		"empty-verify-burns": {"limit = 10", 10},
		"wrong-6300":         {"limit = 10\nwords.wrong = [\"6300\"]", 10},
		"wrong-630x":         {"limit = 10\nempty_verify_safe = true\nwords.counted = [\"630x\"]", 10},
		"pieces":             {"limit = 10\nempty_verify_safe = true\nextended_length = true", 10},
		"t0":                 {"limit = 10\nempty_verify_safe = true", 10},
		"exact-le":           {"limit = 10\nempty_verify_safe = true\nextended_length = true", 10},
		"slow":               {"limit = 10\nempty_verify_safe = true", 10},
	}
}

type variant struct {
	says  string
	wrong int
}

// WrongPINsOf returns how many wrong PINs in a row inkand sends to a card of a
// kind that [pivcard.Variants] names, when its profile says what it should.
func WrongPINsOf(name string) (n int, ok bool) {
	v, ok := variants()[name]
	return v.wrong, ok
}

// Profile is a card profile for one card of a kind that [pivcard.Variants]
// names. says replaces what an administrator should say of the kind; "" = that.
func Profile(name, cardID, says string) (string, error) {
	behaviour, made := pivcard.Variant(name)
	v, ok := variants()[name]
	if !made || !ok {
		return "", fmt.Errorf("no card profile for variant %q", name)
	}
	tail := cardID[max(0, len(cardID)-12):] // names are short, and no two are alike
	if says == "" {
		says = v.says
	}
	unlock := behaviour.UnlockLimit
	if unlock == 0 {
		unlock = pivcard.Tries
	}
	return fmt.Sprintf("name = \"%s %s\"\napplication = \"PIV\"\ncards = [%q]\nunlock_limit = %d\n%s\n"+
		"[pin]\nmin_length = 6\nmax_length = 8\ncharset = \"digits\"\npad_to = 8\npad_byte = 0xFF\n"+
		"[unlock_code]\nmin_length = 6\nmax_length = 8\ncharset = \"printable ASCII and spaces\"\npad_to = 8\npad_byte = 0xFF\n",
		name, tail, cardID, unlock, says), nil
}

// WriteProfile writes the [Profile] of a card into a directory of profiles.
func WriteProfile(dir, name, cardID, says string) error {
	text, err := Profile(name, cardID, says)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, cardID+".toml"), []byte(text), 0o600)
}
