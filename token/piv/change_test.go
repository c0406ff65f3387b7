package piv_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/piv"
	"github.com/inkan-project/inkan/token/tokentest"
)

// ways are the two ways to a new PIN.
var ways = map[string]struct {
	secret token.Secret
	send   func(tok *piv.Token, ctx context.Context, secret, next *token.PIN, a *token.Attempt) (token.Verdict, error)
}{
	"ChangePIN": {token.SecretPIN, (*piv.Token).ChangePIN},
	"Unlock":    {token.SecretUnlockCode, (*piv.Token).Unlock},
}

func TestANewPINIsSentOnceBesideWhatAllowsIt(t *testing.T) {
	for name, tt := range map[string]struct {
		way, secret, next string
		options           piv.Options
		want              string
	}{
		"change":          {"ChangePIN", "123456", "4815162", piv.Options{}, "0024008010313233343536ffff34383135313632ff"},
		"change, longest": {"ChangePIN", "12345678", "48151623", piv.Options{}, "002400801031323334353637383438313531363233"},
		"unlock":          {"Unlock", "12345678", "481516", piv.Options{}, "002c0080103132333435363738343831353136ffff"},
		"a short code":    {"Unlock", "Ab 1~!", "481516", piv.Options{}, "002c0080104162203" + "17e21ffff343831353136ffff"},
		"without padding": {"Unlock", "1234567", "481516", piv.Options{
			PIN:        token.PINFormat{MinLength: 6, MaxLength: 8, Allowed: isDigit},
			UnlockCode: token.PINFormat{MinLength: 6, MaxLength: 8, Allowed: isDigit},
		}, "002c00800d31323334353637343831353136"},
	} {
		card := newCard(t)
		page := make([]byte, token.PINPageMin)
		copy(page[token.PINHeadroom:], tt.secret)
		secret, err := token.NewPIN(page, len(tt.secret), nil)
		if err != nil {
			t.Fatal(err)
		}
		same := false
		card.change = func(command []byte) ([]byte, error) {
			same = &command[5] == &page[token.PINHeadroom]
			return sw(0x9000), nil
		}
		tok := identified(t, card, tt.options)
		way := ways[tt.way]
		verdict, err := way.send(tok, t.Context(), secret, tokentest.PIN(t, []byte(tt.next)), token.NewAttempt(testCard, way.secret, 1))
		if err != nil || verdict.Kind != token.VerdictOK {
			t.Fatalf("%s: %+v, %v", name, verdict, err)
		}
		if diff := cmp.Diff([][]byte{unhex(t, tt.want)}, card.sent); diff != "" {
			t.Errorf("%s: commands (-want +got):\n%s", name, diff)
		}
		if !same {
			t.Errorf("%s: the secrets were copied on their way to the card", name)
		}
	}
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

// TestEveryStatusWordOfAChangeHasItsVerdict: the words of VERIFY, and two by
// which the card refuses the new PIN's form. Without a named profile all 65,536,
// with one the families that a profile can speak of.
func TestEveryStatusWordOfAChangeHasItsVerdict(t *testing.T) {
	for profileName, profile := range allProfiles(t) {
		for name, way := range ways {
			t.Run(profileName+"/"+name, func(t *testing.T) {
				var answer []byte
				card := newCard(t)
				card.change = func([]byte) ([]byte, error) { return answer, nil }
				tok := identified(t, card, piv.FromProfile(profile))
				secret, next := tokentest.PIN(t, []byte("123456")), tokentest.PIN(t, []byte("4815162"))
				families := []byte{0x63, 0x67, 0x69, 0x6A, 0x90}
				for word := range 1 << 16 {
					if len(profile.Name) > 0 && !slices.Contains(families, byte(word>>8)) {
						continue
					}
					answer, card.sent = sw(uint16(word)), nil
					got, err := way.send(tok, t.Context(), secret, next, token.NewAttempt(testCard, way.secret, 1))
					if err != nil || len(card.sent) != 1 {
						t.Fatalf("%04X: %d commands, %v", word, len(card.sent), err)
					}
					want := wantVerdict(uint16(word), profile.Words)
					if got.Kind != want.Kind || got.Tries != want.Tries || got.SW != want.SW {
						t.Errorf("%04X: verdict %q, tries %v, SW %04X, want %q, %v", word, got.Kind, got.Tries, got.SW, want.Kind, want.Tries)
					}
					cause := token.Kind("")
					switch {
					case want.Kind != token.VerdictNone:
					case word == 0x6A80, word == 0x6700:
						cause = token.KindNewPINRefusedByCard
					default:
						cause = token.KindCardFault
					}
					if token.KindOf(got.Cause) != cause {
						t.Errorf("%04X: cause %v, want %q", word, got.Cause, cause)
					}
				}
			})
		}
	}
}

func TestALostAnswerToAChangeIsNoVerdict(t *testing.T) {
	for name, tt := range map[string]struct {
		answer []byte
		err    error
		kind   token.Kind
	}{
		"nothing":                       {nil, nil, token.KindCardSilent},
		"one byte":                      {[]byte{0x90}, nil, token.KindCardSilent},
		"three bytes that end in 9000":  {[]byte{0x00, 0x90, 0x00}, nil, token.KindCardSilent},
		"data where none belongs":       {append(make([]byte, 256), 0x6A, 0x80), nil, token.KindCardSilent},
		"card removed":                  {nil, pcsc.ErrRemoved, token.KindCardRemoved},
		"time is up":                    {nil, pcsc.ErrTimeout, token.KindCardSilent},
		"reset by another program":      {nil, pcsc.ErrReset, token.KindCardReset},
		"9000 together with an error":   {sw(0x9000), pcsc.ErrNoAnswer, token.KindCardSilent},
		"a refusal and an error":        {sw(0x6A80), pcsc.ErrNoAnswer, token.KindCardSilent},
		"an error that has no name yet": {nil, errors.New("protocol error"), token.KindReaderFault},
	} {
		for wayName, way := range ways {
			card := newCard(t)
			card.change = func([]byte) ([]byte, error) { return tt.answer, tt.err }
			tok := identified(t, card, piv.Options{Words: token.PINWords{Wrong: []uint16{0}}})
			used := token.NewAttempt(testCard, way.secret, 1)
			got, err := way.send(tok, t.Context(), tokentest.PIN(t, []byte("123456")), tokentest.PIN(t, []byte("4815162")), used)
			if err != nil || got.Kind != token.VerdictNone || got.Tries != (token.Tries{}) || got.SW != 0 {
				t.Errorf("%s, %s: %+v, %v, want no verdict and no error: something was sent", wayName, name, got, err)
			}
			if token.KindOf(got.Cause) != tt.kind || tt.err != nil && !errors.Is(got.Cause, tt.err) {
				t.Errorf("%s, %s: cause %v, want %s because of %v", wayName, name, got.Cause, tt.kind, tt.err)
			}
			if len(card.sent) != 1 || used.Redeem(testCard, way.secret) == nil {
				t.Errorf("%s, %s: %d commands were sent, or the attempt can be used again", wayName, name, len(card.sent))
			}
		}
	}
}

// TestACardThatRefusesTheFormOfANewPINSaysSo uses a card profile that allows
// more than the card does.
func TestACardThatRefusesTheFormOfANewPINSaysSo(t *testing.T) {
	made := makeCard(t, pivcard.Behaviour{})
	for name, way := range ways {
		dir := newDirectory(t, made)
		conn := &connection{card: openCard(t, dir)}
		tok := piv.Open(conn, piv.Options{PIN: piv.UnlockCodeFormat()})
		identity, err := tok.Identify(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		right := map[token.Secret]string{token.SecretPIN: pivcard.DemoPIN, token.SecretUnlockCode: pivcard.DemoUnlockCode}[way.secret]
		attempt := token.NewAttempt(identity.Card, way.secret, 1)
		verdict, err := way.send(tok, t.Context(), tokentest.PIN(t, []byte(right)), tokentest.PIN(t, []byte("secret")), attempt)
		if err != nil || verdict.Kind != token.VerdictNone || verdict.SW != 0x6A80 || token.KindOf(verdict.Cause) != token.KindNewPINRefusedByCard {
			t.Errorf("%s: %+v, %v, want no verdict because the new PIN is refused", name, verdict, err)
		}
		truth, err := pivcard.ReadTruth(dir)
		if err != nil || truth.Replaced != 0 || truth.PINLeft != pivcard.Tries || truth.UnlockLeft != pivcard.Tries {
			t.Errorf("%s: truth %+v, %v, want nothing replaced and no try spent", name, truth, err)
		}
		if truth.Changes+truth.UnlockVerifies != 1 {
			t.Errorf("%s: the card saw %d changes and %d unlock codes, want one in all", name, truth.Changes, truth.UnlockVerifies)
		}
	}
}

func TestSecretsThatAreNotPaddedAlikeAreNotSent(t *testing.T) {
	other := piv.UnlockCodeFormat()
	other.PadTo = 12
	card := newCard(t)
	tok := identified(t, card, piv.Options{UnlockCode: other})
	attempt := token.NewAttempt(testCard, token.SecretUnlockCode, 1)
	if v, err := tok.Unlock(t.Context(), tokentest.PIN(t, []byte("123456")), tokentest.PIN(t, []byte("4815162")), attempt); err == nil || len(card.sent) != 0 {
		t.Errorf("Unlock = %+v, %v, %d commands, want an error and none", v, err, len(card.sent))
	}
	if attempt.Redeem(testCard, token.SecretUnlockCode) != nil {
		t.Error("the attempt was spent although nothing was sent")
	}
}

func TestUnlockCodesAreThoseThatCanBeTyped(t *testing.T) {
	f := piv.UnlockCodeFormat()
	for b := range 256 {
		if got, want := f.Allowed(byte(b)), b >= 0x20 && b <= 0x7E; got != want {
			t.Errorf("byte %#02x is allowed: %v, want %v", b, got, want)
		}
	}
	for name, set := range map[string]token.Profile{"piv": shipped(t).For("PIV", nil, ""), "virtual": shipped(t).For("PIV", nil, virtualCard)} {
		p := set.UnlockCode
		if p.MinLength != f.MinLength || p.MaxLength != f.MaxLength || p.PadTo != f.PadTo || p.Pad != f.Pad || p.Charset != f.Charset {
			t.Errorf("shipped profile %s has unlock codes %+v, want %+v", name, p, f)
		}
		if !slices.Contains(set.DefaultUnlockCodes, pivcard.DemoUnlockCode) {
			t.Errorf("shipped profile %s does not know the factory default", name)
		}
	}
}
