package piv_test

import (
	"context"
	"os"
	"testing"

	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/piv"
	"github.com/inkan-project/inkan/token/tokentest"
)

// connection is a virtual card as a transmitter that counts.
type connection struct {
	card     *pivcard.Card
	commands int
	verifies int // VERIFY with data
}

func (c *connection) Transmit(_ context.Context, command []byte) ([]byte, error) {
	c.commands++
	if len(command) > 5 && command[1] == 0x20 {
		c.verifies++
	}
	return c.card.Transmit(command), nil
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

func TestPIVPassesTheSuiteOnTheVirtualCard(t *testing.T) {
	made := t.TempDir()
	card, err := pivcard.Open(pivcard.Options{Dir: made})
	if err != nil {
		t.Fatalf("making virtual card: %v", err)
	}
	if err := card.Close(); err != nil {
		t.Fatal(err)
	}
	for name, options := range map[string]piv.Options{
		"nothing known of the card":       {},
		"tries readable":                  {EmptyVerifySafe: true},
		"tries readable, extended length": {EmptyVerifySafe: true, Extended: true},
	} {
		t.Run(name, func(t *testing.T) {
			tokentest.Run(t, tokentest.Harness{New: func(t *testing.T) tokentest.Card {
				dir := newDirectory(t, made)
				conn := &connection{card: openCard(t, dir)}
				t.Cleanup(func() { wantTruth(t, dir, conn.verifies) })
				options.Skipped = func(slot string, reason error) { t.Errorf("key %s is not shown: %v", slot, reason) }
				return tokentest.Card{
					Open:          func() token.Token { return piv.Open(conn, options) },
					Reset:         func(context.Context) error { conn.card.Reset(); return nil },
					Commands:      func() int { return conn.commands },
					PIN:           []byte(pivcard.DemoPIN),
					WrongPIN:      []byte("654321"),
					Limit:         pivcard.Tries,
					TriesReadable: options.EmptyVerifySafe,
					Slots:         []string{"9a", "9c", "9e"},
				}
			}})
		})
	}
}

// wantTruth holds what was sent against what the card saw.
func wantTruth(t *testing.T, dir string, verifies int) {
	t.Helper()
	truth, err := pivcard.ReadTruth(dir)
	if err != nil {
		t.Fatalf("ReadTruth: %v", err)
	}
	if truth.Verifies != verifies {
		t.Errorf("the card saw %d VERIFY, %d were sent", truth.Verifies, verifies)
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
