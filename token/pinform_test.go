package token_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/inkan-project/inkan/token"
)

func printable() token.PINFormat {
	return token.PINFormat{
		MinLength: 6, MaxLength: 8, Charset: "printable ASCII",
		Allowed: func(b byte) bool { return b > ' ' && b <= '~' },
	}
}

func TestTheFormIsCheckedAlikeForAllSecrets(t *testing.T) {
	for name, secret := range map[string]string{
		"nothing": "", "too short": "92749", "too long": "927493816", "a letter": "92749a", "a NUL": "92749\x00",
		"full-width digits": "12", "a space": "927 49",
	} {
		pin := newPIN(t, []byte(secret))
		for kind, err := range map[token.Kind]error{
			token.KindPINMalformed:        pin.Check(digits68()),
			token.KindUnlockCodeMalformed: pin.CheckCode(digits68()),
			token.KindNewPINRefused:       pin.CheckNew(digits68()),
		} {
			if token.KindOf(err) != kind {
				t.Errorf("%s: %v, want %s", name, err, kind)
			}
		}
	}
	good := newPIN(t, []byte("927493"))
	if good.Check(digits68()) != nil || good.CheckCode(digits68()) != nil || good.CheckNew(digits68()) != nil {
		t.Error("a good secret is refused")
	}
	// What nobody should choose is still what a card may have.
	if err := newPIN(t, []byte("123456")).Check(digits68()); err != nil {
		t.Errorf("Check of a simple PIN = %v", err)
	}
	if err := newPIN(t, []byte("12345678")).CheckCode(digits68()); err != nil {
		t.Errorf("CheckCode of a factory default = %v", err)
	}
}

func TestANewPINThatOthersTryFirstIsRefused(t *testing.T) {
	simple := map[string][]string{
		"it repeats one character": {"000000", "1111111", "99999999", "aaaaaa"},
		"it is a row up or down": {
			"123456", "987654", "890123", "210987", "01234567", "76543210", "9876543", "6789012", "abcdef", "FEDCBA",
		},
		"it repeats pairs":         {"121212", "112233", "90909090", "1212121", "11223344", "1122334", "998877", "114477", "abababab"},
		"too many people use it":   {"123123", "12341234", "159753", "31415926", "5201314", "12344321"},
		"it must have 6 to 8":      {"12345", "123456789"},
		"only printable ASCII are": {"１２", "92749 3"},
	}
	for detail, secrets := range simple {
		for _, secret := range secrets {
			err := newPIN(t, []byte(secret)).CheckNew(printable())
			if token.KindOf(err) != token.KindNewPINRefused || !strings.Contains(err.Error(), detail) {
				t.Errorf("CheckNew of %q = %v, want %q", secret, err, detail)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("the error about %q quotes it", secret)
			}
		}
	}
	for _, secret := range []string{
		"927493", "123457", "100000", "000001", "123450", "0123467", "112234", "121213", "13579135", "890124", "90123457",
		"19850401", "20260401", "850401", "040185", // dates
		"9:;<=>?@", "/01234", // no row goes through what is not a digit, round or on
	} {
		want := secret == "9:;<=>?@" || secret == "/01234" // they are rows in ASCII
		if err := newPIN(t, []byte(secret)).CheckNew(printable()); (err != nil) != want {
			t.Errorf("CheckNew of %q = %v, want refused %v", secret, err, want)
		}
	}
}

// TestFewNewPINsAreRefused: who is refused too often gives up, and the fewer
// are left the sooner one is guessed.
func TestFewNewPINsAreRefused(t *testing.T) {
	pin, page := newPINPage(t, []byte("000000"), nil)
	digits := page[token.PINHeadroom : token.PINHeadroom+6]
	refused, asked := 0, 0
	for n := 0; n < 1_000_000; n += 17 { // each 17th: a sample
		copy(digits, fmt.Appendf(nil, "%06d", n))
		if asked++; pin.CheckNew(digits68()) != nil {
			refused++
		}
	}
	if refused*500 > asked {
		t.Errorf("%d of %d PINs are refused, want at most two in a thousand", refused, asked)
	}
}

func TestCheckingAPINMakesNoCopy(t *testing.T) {
	pin := newPIN(t, []byte("927493"))
	other := newPIN(t, []byte("927493"))
	f := digits68()
	if n := testing.AllocsPerRun(100, func() {
		if pin.CheckNew(f) != nil || pin.CheckCode(f) != nil || !pin.Equal(other) || pin.EqualText("12345678") {
			t.Error("wrong answer")
		}
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func TestEqualIsNeverTrueOfNothing(t *testing.T) {
	wiped := newPIN(t, canary)
	wiped.Wipe()
	var none *token.PIN
	for name, tt := range map[string]struct {
		a, b *token.PIN
		want bool
	}{
		"the same":              {newPIN(t, canary), newPIN(t, canary), true},
		"the first byte":        {newPIN(t, []byte("123456")), newPIN(t, []byte("023456")), false},
		"the last byte":         {newPIN(t, []byte("123456")), newPIN(t, []byte("123457")), false},
		"longer by a NUL":       {newPIN(t, []byte("123456")), newPIN(t, []byte("123456\x00")), false},
		"a beginning":           {newPIN(t, []byte("12345678")), newPIN(t, []byte("123456")), false},
		"wiped":                 {wiped, wiped, false},
		"empty":                 {newPIN(t, nil), newPIN(t, nil), false},
		"nil":                   {none, none, false},
		"zero":                  {new(token.PIN), new(token.PIN), false},
		"one of them wiped":     {newPIN(t, canary), wiped, false},
		"one of them not there": {newPIN(t, canary), none, false},
	} {
		if tt.a.Equal(tt.b) != tt.want || tt.b.Equal(tt.a) != tt.want {
			t.Errorf("%s: not %v both ways", name, tt.want)
		}
	}
	self := newPIN(t, canary)
	if !self.Equal(self) { //nolint:gocritic // the question is whether it equals itself
		t.Error("a PIN does not equal itself")
	}
	if !self.EqualText(string(canary)) || self.EqualText("") || self.EqualText("4815162") || self.EqualText("48151624") {
		t.Error("EqualText is wrong")
	}
	if wiped.EqualText("") || wiped.EqualText(string(canary)) || none.EqualText("") || newPIN(t, nil).EqualText("") {
		t.Error("EqualText of nothing is true")
	}
}

func TestCommandWithJoinsTwoPINsInThePageOfTheFirst(t *testing.T) {
	header := []byte{0x00, 0x24, 0x00, 0x80, 0x10}
	long := strings.Repeat("7", token.PINCapacity)
	tests := []struct {
		name          string
		first, second string
		header        []byte
		padTo         int
		want          string
	}{
		{"both padded", "123456", "7654321", header, 8, "123456\xff\xff7654321\xff"},
		{"neither needs padding", "12345678", "87654321", header, 8, "1234567887654321"},
		{"not padded: side by side", "123456", "9876", header, 0, "1234569876"},
		{"no header", "123456", "654321", nil, 0, "123456654321"},
		{"as long as can be", long, strings.Repeat("8", token.PINCapacity), bytes.Repeat([]byte{1}, token.PINHeadroom), token.PINCapacity, long + strings.Repeat("8", token.PINCapacity)},
		{"short ones padded as far as can be", "1", "2", header, token.PINCapacity, "1" + strings.Repeat("\xff", 63) + "2" + strings.Repeat("\xff", 63)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			first, page := newPINPage(t, []byte(tt.first), nil)
			second, secondPage := newPINPage(t, []byte(tt.second), nil)
			before := bytes.Clone(secondPage)
			for range 2 {
				got, err := first.CommandWith(second, tt.header, tt.padTo, 0xFF)
				if err != nil {
					t.Fatal(err)
				}
				if want := append(bytes.Clone(tt.header), tt.want...); !bytes.Equal(got, want) {
					t.Errorf("command %q, want %q", got, want)
				}
				if &got[0] != &page[token.PINHeadroom-len(tt.header)] || cap(got) != len(got) {
					t.Error("the command is not in the page of the first, or can grow")
				}
			}
			if !bytes.Equal(before, secondPage) {
				t.Error("the page of the second was changed")
			}
			if got, err := first.Command(tt.header, 0, 0); err != nil || !bytes.HasSuffix(got, []byte(tt.first)) {
				t.Errorf("afterwards a command of the first alone is %q, %v", got, err)
			}
			first.Wipe()
			if !bytes.Equal(page, make([]byte, len(page))) {
				t.Error("the second outlives the first in its page")
			}
		})
	}
	both := newPIN(t, []byte("123456"))
	if n := testing.AllocsPerRun(100, func() { _, _ = both.CommandWith(both, header, 8, 0xFF) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func TestCommandWithRefusesWhatDoesNotFit(t *testing.T) {
	wiped := newPIN(t, canary)
	wiped.Wipe()
	good := func() *token.PIN { return newPIN(t, []byte("123456")) }
	for name, tt := range map[string]struct {
		first, second *token.PIN
		header, padTo int
	}{
		"a header longer than the headroom": {good(), good(), 17, 8},
		"padding longer than a PIN can be":  {good(), good(), 5, 65},
		"negative padding":                  {good(), good(), 5, -1},
		"a first longer than its padding":   {newPIN(t, []byte("123456789")), good(), 5, 8},
		"a second longer than its padding":  {good(), newPIN(t, []byte("123456789")), 5, 8},
		"an empty first":                    {newPIN(t, nil), good(), 5, 8},
		"an empty second, no PIN to be set": {good(), newPIN(t, nil), 5, 8},
		"a wiped first":                     {wiped, good(), 5, 8},
		"a wiped second":                    {good(), wiped, 5, 8},
		"no first":                          {nil, good(), 5, 8},
		"no second":                         {good(), nil, 5, 8},
	} {
		if got, err := tt.first.CommandWith(tt.second, make([]byte, tt.header), tt.padTo, 0xFF); err == nil {
			t.Errorf("%s: %d bytes, want an error", name, len(got))
		}
	}
}
