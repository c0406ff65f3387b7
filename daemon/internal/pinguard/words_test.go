package pinguard

import (
	"context"
	"encoding/hex"
	"testing"
	"time"

	"github.com/inkan-project/inkan/pcsc/apdu"
	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/cardprofile"
	"github.com/inkan-project/inkan/token/piv"
	"github.com/inkan-project/inkan/token/tokentest"
)

// wordCard is a PIV card that answers every secret with the same status word.
type wordCard struct {
	chuid []byte
	word  uint16
}

func newWordCard(t *testing.T) *wordCard {
	t.Helper()
	guid, err := hex.DecodeString("00112233445566778899aabbccddeeff")
	if err != nil {
		t.Fatal(err)
	}
	// CHUID (SP 800-73-5 part 1 table 9): FASC-N, GUID, expiry, no signature.
	inner := apdu.AppendTLV(nil, 0x30, make([]byte, 25))
	inner = apdu.AppendTLV(inner, 0x34, guid)
	inner = apdu.AppendTLV(inner, 0x35, []byte("20300101"))
	inner = apdu.AppendTLV(apdu.AppendTLV(inner, 0x3E, nil), 0xFE, nil)
	return &wordCard{chuid: append(apdu.AppendTLV(nil, 0x53, inner), 0x90, 0x00)}
}

// Transmit implements piv.Card.
func (c *wordCard) Transmit(_ context.Context, command []byte) ([]byte, error) {
	switch command[1] {
	case 0x20, 0x24, 0x2C: // VERIFY, CHANGE REFERENCE DATA, RESET RETRY COUNTER
		return []byte{byte(c.word >> 8), byte(c.word)}, nil
	case 0xCB: // GET DATA
		return c.chuid, nil
	}
	return []byte{0x90, 0x00}, nil
}

// order is a command that carries a secret.
type order struct {
	name   string
	secret token.Secret
	send   func(*piv.Token, context.Context, *token.Attempt) (token.Verdict, error)
}

func orders(t *testing.T) []order {
	t.Helper()
	pin, next, code := tokentest.PIN(t, []byte("123456")), tokentest.PIN(t, []byte("486159")), tokentest.PIN(t, []byte("12345678"))
	return []order{
		{"VERIFY", token.SecretPIN, func(tok *piv.Token, ctx context.Context, a *token.Attempt) (token.Verdict, error) {
			return tok.Verify(ctx, pin, a)
		}},
		{"CHANGE REFERENCE DATA", token.SecretPIN, func(tok *piv.Token, ctx context.Context, a *token.Attempt) (token.Verdict, error) {
			return tok.ChangePIN(ctx, pin, next, a)
		}},
		{"RESET RETRY COUNTER", token.SecretUnlockCode, func(tok *piv.Token, ctx context.Context, a *token.Attempt) (token.Verdict, error) {
			return tok.Unlock(ctx, code, next, a)
		}},
	}
}

// profilesWithWords are the card profiles that are shipped, and cards that speak in words
// of their own.
func profilesWithWords(t *testing.T) map[string]token.Profile {
	t.Helper()
	shipped, err := cardprofile.Shipped()
	if err != nil {
		t.Fatal(err)
	}
	yubikey, err := hex.DecodeString("3BF81300008131FE15597562696B657934D4")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]token.Profile{
		"piv":          shipped.For("PIV", nil, ""),
		"piv-extended": shipped.For("PIV", yubikey, ""),
		"virtual":      shipped.For("PIV", nil, "piv-494e4b5600000000"),
	}
	for name, p := range all {
		if p.Name != name {
			t.Fatalf("profile %q stands for %q", p.Name, name)
		}
	}
	own := all["piv"]
	own.Limit, own.UnlockLimit = 15, 15
	own.Words = token.PINWords{Wrong: []uint16{0x6300, 0x6982}, Counted: []uint16{0x6310}, Blocked: []uint16{0x63C0, 0x6985}}
	all["own words"] = own
	return all
}

// model is security model 2.7 of one secret, written once more and as simply as
// can be: what a person would work out by hand.
type model struct {
	left, silent, lost int
	blocked, elsewhere bool
}

// wrongWith says what a status word tells of the tries: whether the secret was wrong,
// and how many are left where the word counts (-1 = it does not).
func wrongWith(word uint16, words token.PINWords) (wrong bool, left int) {
	if word >= 0x63C0 && word <= 0x63CF {
		return true, int(word - 0x63C0)
	}
	for _, first := range words.Counted {
		if word >= first && word <= first+15 {
			return true, int(word - first)
		}
	}
	for _, w := range words.Wrong {
		if w == word {
			return true, -1
		}
	}
	return false, -1
}

func blockedBy(word uint16, words token.PINWords) bool {
	for _, w := range words.Blocked {
		if w == word {
			return true
		}
	}
	return word == 0x6983 || word == 0x6984
}

// after is the secret after one more try that the card answered with word.
func (m model) after(word uint16, p token.Profile, limit int) model {
	wrong, counted := wrongWith(word, p.Words)
	switch {
	case word == 0x9000:
		return model{left: limit}
	case blockedBy(word, p.Words):
		m.left, m.silent, m.blocked = 0, 0, true
	case wrong:
		m.left, m.silent = m.left-1, 0
		if counted >= 0 && counted < m.left {
			m.left, m.elsewhere = counted, true
		}
	default:
		m.left, m.silent, m.lost = m.left-1, m.silent+1, m.lost+1
	}
	return m
}

func (m model) state() token.CardState {
	switch {
	case m.left == 0:
		return token.CardLocked
	case m.silent >= 3:
		return token.CardHeld
	case m.left <= 3:
		return token.CardLow
	}
	return token.CardReady
}

// seen is what a person sees of an account.
type seen struct {
	left        int
	state       token.CardState
	unaccounted int
	elsewhere   bool
}

func (m model) belief() seen { return seen{m.left, m.state(), m.lost, m.elsewhere} }

func shown(b Belief) seen { return seen{b.Left, b.State, b.Unaccounted, b.Elsewhere} }

// histories are what happened before, as status words. From some of them no try
// is possible any more.
func histories(limit int) map[string][]uint16 {
	repeat := func(word uint16, n int) (all []uint16) {
		for range n {
			all = append(all, word)
		}
		return all
	}
	const wrong, none, blocked, right = 0x63CF, 0x6F00, 0x6983, 0x9000
	return map[string][]uint16{
		"new":                        nil,
		"one wrong":                  repeat(wrong, 1),
		"half of them wrong":         repeat(wrong, limit/2),
		"four left":                  repeat(wrong, max(0, limit-4)),
		"three left":                 repeat(wrong, max(0, limit-3)),
		"the last try":               repeat(wrong, limit-1),
		"one silent":                 repeat(none, 1),
		"two silent":                 repeat(none, min(2, limit-1)),
		"two silent, a wrong one":    append(repeat(none, min(2, limit-1)), repeat(wrong, min(1, limit-2))...),
		"two silent at the last try": append(repeat(wrong, max(0, limit-3)), none, none),
		"right after wrong":          {wrong, none, right},
		"the card counts fewer":      {0x63C2},
		"held":                       repeat(none, 3),
		"all used up":                repeat(wrong, limit),
		"blocked":                    {blocked},
	}
}

// TestEveryStatusWordInEveryState sends each of the three commands that carry a
// secret to a card that answers with each of the 65,536 status words, in each
// state of the account, for each shipped card profile, and holds what is
// believed then against the model.
func TestEveryStatusWordInEveryState(t *testing.T) {
	card := newWordCard(t)
	for name, p := range profilesWithWords(t) {
		for _, o := range orders(t) {
			t.Run(name+" "+o.name, func(t *testing.T) {
				verdicts := verdictsOf(t, card, p, o)
				limit := p.Limit
				if o.secret == token.SecretUnlockCode {
					limit = p.UnlockLimit
				}
				limit = min(limit, 10)
				for history, words := range histories(limit) {
					for _, verdict := range verdicts {
						answered(t, history, words, verdict, p, o.secret, limit)
					}
				}
			})
		}
	}
}

// meant is a verdict, and one of the words that mean it.
type meant struct {
	word    uint16
	verdict token.Verdict
}

// verdictsOf sends a command with each status word and returns the verdicts
// that differ in what decides: kind and tries. That words with the same verdict
// mean the same is checked for each of them.
func verdictsOf(t *testing.T, card *wordCard, p token.Profile, o order) []meant {
	t.Helper()
	type deciding struct {
		kind  token.VerdictKind
		tries token.Tries
	}
	known := map[deciding]bool{}
	var all []meant
	tok := piv.Open(card, piv.FromProfile(p))
	id, err := tok.Identify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	limit := min(p.Limit, 10)
	for word := range 1 << 16 {
		card.word = uint16(word)
		v, err := o.send(tok, t.Context(), token.NewAttempt(id.Card, o.secret, 1))
		if err != nil {
			t.Fatalf("%04X: %v", word, err)
		}
		d := deciding{v.Kind, v.Tries}
		if !known[d] {
			known[d] = true
			all = append(all, meant{uint16(word), v})
		}
		// What the account makes of the verdict, on its own and for each word.
		before := model{left: limit - 1}
		got := count{used: 2}.settled(token.Verdict{Kind: v.Kind, Tries: v.Tries}, freely, limit, stamp{})
		want := before.after(uint16(word), p, limit)
		if b := believe(got, Account{Limit: limit}); shown(b) != want.belief() {
			t.Fatalf("%04X: %+v, want %+v", word, shown(b), want.belief())
		}
		if (v.Kind == token.VerdictOK) != (word == 0x9000) {
			t.Fatalf("%04X clears the count", word)
		}
	}
	return all
}

// answered plays a history and one more answer to a guard with a journal, which
// is opened again after it.
func answered(t *testing.T, history string, words []uint16, last meant, p token.Profile, secret token.Secret, limit int) {
	t.Helper()
	disk := newMemoryFS()
	acc := Account{Card: cardA, Secret: secret, Limit: limit}
	pin := Account{Card: cardA, Secret: token.SecretPIN, Limit: limit}
	open := func() *Guard {
		g, _, err := Open(Config{FS: disk, Now: wallClock, Slots: 16, Boot: func() Boot { return Boot{Since: time.Hour} }})
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	g := open()
	want := model{left: limit}
	send := func(word uint16, v token.Verdict) bool {
		a, err := g.Debit(acc, freely, AuditMark{})
		if may := want.left > 0 && want.silent < 3; (err == nil) != may {
			t.Fatalf("%s, then %04X: %v, want a try %t", history, word, err, may)
		}
		if err != nil {
			return false
		}
		want = want.after(word, p, limit)
		if got := g.After(a, v); shown(got) != want.belief() {
			t.Fatalf("%s, then %04X: %+v will be told, want %+v", history, word, shown(got), want.belief())
		}
		if err := g.Settle(a, v, AuditMark{}); err != nil {
			t.Fatal(err)
		}
		return true
	}
	for _, word := range words {
		v := token.Verdict{Kind: token.VerdictNone}
		switch {
		case word == 0x9000:
			v.Kind = token.VerdictOK
		case word == 0x6983:
			v.Kind = token.VerdictBlocked
		case word>>8 == 0x63:
			v = token.Verdict{Kind: token.VerdictWrong, Tries: token.KnownTries(int(word & 0xF))}
		}
		send(word, v)
	}
	others := g.Belief(pin)
	sent := send(last.word, last.verdict)
	for _, when := range []string{"", " and a restart"} {
		if got := g.Belief(acc); shown(got) != want.belief() {
			t.Fatalf("%s, then %04X%s: %+v, want %+v", history, last.word, when, shown(got), want.belief())
		}
		if secret == token.SecretUnlockCode {
			wantPIN := shown(others)
			if sent && last.word == 0x9000 {
				wantPIN = model{left: limit}.belief()
			}
			if got := shown(g.Belief(pin)); got != wantPIN {
				t.Fatalf("%s, then %04X%s: PIN %+v, want %+v", history, last.word, when, got, wantPIN)
			}
		}
		g = open()
	}
}
