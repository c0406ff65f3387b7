package piv_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/cardprofile"
)

// variantProfiles are the card profiles for the variants of the virtual card,
// as an administrator would write them: what differs from the shipped one.
var variantProfiles = map[string]string{
	"limit-3":            "limit = 3\nunlock_limit = 3\nempty_verify_safe = true\nextended_length = true",
	"limit-5":            "limit = 5\nunlock_limit = 5\nempty_verify_safe = true",
	"limit-15":           "limit = 15\nunlock_limit = 15\nempty_verify_safe = true",
	"last-blocked":       "limit = 10\nunlock_limit = 10\nempty_verify_safe = true",
	"never-6983":         "limit = 10\nunlock_limit = 10\nempty_verify_safe = true\nwords.blocked = [\"63C0\"]",
	"no-count":           "limit = 10\nunlock_limit = 10\nwords.wrong = [\"6982\"]",
	"cac":                "limit = 10\nunlock_limit = 10\nempty_verify_safe = true\nwords.wrong = [\"6985\"]",
	"empty-verify-burns": "limit = 10\nunlock_limit = 10",
	"wrong-6300":         "limit = 10\nunlock_limit = 10\nwords.wrong = [\"6300\"]",
	"wrong-630x":         "limit = 10\nunlock_limit = 10\nempty_verify_safe = true\nwords.counted = [\"630x\"]",
	"pieces":             "limit = 10\nunlock_limit = 10\nempty_verify_safe = true\nextended_length = true",
	"t0":                 "limit = 10\nunlock_limit = 10\nempty_verify_safe = true",
	"exact-le":           "limit = 10\nunlock_limit = 10\nempty_verify_safe = true\nextended_length = true",
	"slow":               "limit = 10\nunlock_limit = 10\nempty_verify_safe = true\nextended_length = true",
}

// virtualCard begins like the identity of every virtual card.
const virtualCard = token.CardID("piv-494e4b56")

// profileOf loads the profile of a variant, chosen by a card identity.
func profileOf(t *testing.T, variant string) token.Profile {
	t.Helper()
	text := "name = \"" + variant + "\"\napplication = \"PIV\"\ncards = [\"" + string(testCard) + "\"]\n" + variantProfiles[variant] +
		"\n[pin]\nmin_length = 6\nmax_length = 8\ncharset = \"digits\"\npad_to = 8\npad_byte = 0xFF\n" +
		"[unlock_code]\nmin_length = 6\nmax_length = 8\ncharset = \"printable ASCII and spaces\"\npad_to = 8\npad_byte = 0xFF\n"
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, variant+".toml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	set, err := cardprofile.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	p := set.For("PIV", nil, testCard)
	if p.Name != variant {
		t.Fatalf("profile %q was chosen, want %q", p.Name, variant)
	}
	return p
}

func shipped(t *testing.T) *cardprofile.Set {
	t.Helper()
	set, err := cardprofile.Shipped()
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestEachVariantHasAProfile(t *testing.T) {
	for _, name := range pivcard.Variants() {
		if _, ok := variantProfiles[name]; !ok && name != "piv" {
			t.Errorf("variant %q of the virtual card has no profile, so that the suite does not run on it", name)
		}
	}
}
