package piv_test

import (
	"context"
	"os"
	"testing"

	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/cardprofile"
	"github.com/inkan-project/inkan/token/piv"
	"github.com/inkan-project/inkan/token/tokentest"
)

// connection is a virtual card as a transmitter that counts, and may lose one
// command or its answer.
type connection struct {
	card     *pivcard.Card
	commands int
	verifies int // VERIFY with data
	changes  int // CHANGE REFERENCE DATA
	unlocks  int // RESET RETRY COUNTER
	lose     bool
	arrives  bool // the command that gets no answer
}

func (c *connection) Transmit(_ context.Context, command []byte) ([]byte, error) {
	c.commands++
	lose := c.lose
	c.lose = false
	if lose && !c.arrives {
		return nil, pcsc.ErrNoAnswer
	}
	switch {
	case command[1] == 0x20 && len(command) > 5:
		c.verifies++
	case command[1] == 0x24:
		c.changes++
	case command[1] == 0x2C:
		c.unlocks++
	}
	answer := c.card.Transmit(command)
	if lose {
		return nil, pcsc.ErrNoAnswer
	}
	return answer, nil
}

// newDirectory copies a card made once: making RSA keys takes its time.
func newDirectory(t *testing.T, from string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatalf("copying card: %v", err)
	}
	return dir
}

func openCard(t *testing.T, dir string) *pivcard.Card {
	t.Helper()
	card, err := pivcard.Open(pivcard.Options{Dir: dir})
	if err != nil {
		t.Fatalf("opening virtual card: %v", err)
	}
	t.Cleanup(func() { _ = card.Close() })
	return card
}

// makeCard makes a card that behaves in a way, to be copied.
func makeCard(t *testing.T, b pivcard.Behaviour) (dir string) {
	t.Helper()
	dir = t.TempDir()
	card, err := pivcard.Open(pivcard.Options{Dir: dir, Behaviour: b})
	if err != nil {
		t.Fatalf("making virtual card: %v", err)
	}
	if err := card.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// runSuite runs the suite on copies of a card. what says what the suite must
// know of it.
func runSuite(t *testing.T, made string, options piv.Options, what tokentest.Card) {
	t.Helper()
	tokentest.Run(t, tokentest.Harness{New: func(t *testing.T) tokentest.Card {
		dir := newDirectory(t, made)
		conn := &connection{card: openCard(t, dir)}
		t.Cleanup(func() { wantTruth(t, dir, conn) })
		options.Skipped = func(slot string, reason error) { t.Errorf("key %s is not shown: %v", slot, reason) }
		c := what
		c.Open = func() token.Token { return piv.Open(conn, options) }
		c.Reset = func(context.Context) error { conn.card.Reset(); return nil }
		c.Commands = func() int { return conn.commands }
		c.Lose = func(arrives bool) { conn.lose, conn.arrives = true, arrives }
		c.PIN, c.WrongPIN = []byte(pivcard.DemoPIN), []byte("654321")
		c.NewPIN, c.LaterPIN = []byte("4815162"), []byte("92749381")
		c.UnlockCode, c.WrongUnlockCode = []byte(pivcard.DemoUnlockCode), []byte("Code 1")
		c.Slots = []string{"9a", "9c", "9e"}
		return c
	}})
}

func TestPIVPassesTheSuiteOnTheVirtualCard(t *testing.T) {
	made := makeCard(t, pivcard.Behaviour{})
	for name, options := range map[string]piv.Options{
		"nothing known of the card":       {},
		"tries readable":                  {EmptyVerifySafe: true},
		"tries readable, extended length": {EmptyVerifySafe: true, Extended: true},
		"shipped profile of PIV":          piv.FromProfile(shipped(t).For("PIV", nil, "")),
		"shipped profile of its identity": piv.FromProfile(shipped(t).For("PIV", nil, virtualCard)),
		"strictest profile":               piv.FromProfile(cardprofile.Strictest()),
	} {
		t.Run(name, func(t *testing.T) {
			runSuite(t, made, options, tokentest.Card{Limit: pivcard.Tries, UnlockLimit: pivcard.Tries, TriesReadable: options.EmptyVerifySafe})
		})
	}
}

// TestPIVPassesTheSuiteOnEveryVariant is about the kinds of cards that people
// meet: each card that behaves in its own way, with the card profile that says so.
func TestPIVPassesTheSuiteOnEveryVariant(t *testing.T) {
	for _, name := range pivcard.Variants() {
		behaviour, _ := pivcard.Variant(name)
		if behaviour.DelayMS > 0 {
			behaviour.DelayMS = 1 // slow enough to be another card, fast enough for a suite
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			profile := shipped(t).For("PIV", nil, virtualCard)
			if _, ok := variantProfiles[name]; ok {
				profile = profileOf(t, name)
			}
			runSuite(t, makeCard(t, behaviour), piv.FromProfile(profile), tokentest.Card{
				Limit: profile.Limit, UnlockLimit: profile.UnlockLimit, NeverLocks: behaviour.NeverLocks,
				TriesReadable: profile.EmptyVerifySafe && !behaviour.NeverLocks,
			})
		})
	}
}

// TestACardThatBurnsTriesIsNeverAsked is why an unknown card gets the strictest
// profile.
func TestACardThatBurnsTriesIsNeverAsked(t *testing.T) {
	behaviour, _ := pivcard.Variant("empty-verify-burns")
	dir := makeCard(t, behaviour)
	for name, tt := range map[string]struct {
		profile token.Profile
		left    int
	}{
		"strictest":              {cardprofile.Strictest(), 10},
		"shipped profile of PIV": {shipped(t).For("PIV", nil, ""), 10},
		"asked as if it were so": {shipped(t).For("PIV", nil, virtualCard), 7},
	} {
		own := newDirectory(t, dir)
		tok := piv.Open(&connection{card: openCard(t, own)}, piv.FromProfile(tt.profile))
		if _, err := tok.Identify(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, _, err := tok.Tries(t.Context(), token.SecretPIN); err != nil {
				t.Fatal(err)
			}
		}
		truth, err := pivcard.ReadTruth(own)
		if err != nil || truth.PINLeft != tt.left {
			t.Errorf("%s: %d tries left, %v, want %d", name, truth.PINLeft, err, tt.left)
		}
	}
}

// wantTruth holds what was sent against what the card saw.
func wantTruth(t *testing.T, dir string, sent *connection) {
	t.Helper()
	truth, err := pivcard.ReadTruth(dir)
	if err != nil {
		t.Fatalf("ReadTruth: %v", err)
	}
	if truth.Verifies != sent.verifies || truth.Changes != sent.changes || truth.UnlockVerifies != sent.unlocks {
		t.Errorf("the card saw %d VERIFY, %d CHANGE REFERENCE DATA and %d RESET RETRY COUNTER; %d, %d and %d were sent",
			truth.Verifies, truth.Changes, truth.UnlockVerifies, sent.verifies, sent.changes, sent.unlocks)
	}
}

func TestTheVirtualCardIsKnownAsVirtual(t *testing.T) {
	conn := &connection{card: openCard(t, t.TempDir())}
	identity, err := piv.Open(conn, piv.Options{}).Identify(t.Context())
	if err != nil {
		t.Fatalf("Identify: %v", err)
	}
	if !identity.Virtual || identity.Application != "PIV" {
		t.Errorf("identity %+v, want a virtual PIV card", identity)
	}
	if conn.commands != 2 {
		t.Errorf("Identify took %d commands, want 2", conn.commands)
	}
}
