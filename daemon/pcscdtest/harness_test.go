package pcscdtest_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/daemon"
	"github.com/inkan-project/inkan/daemon/daemontest"
	"github.com/inkan-project/inkan/pcsc/pcsctest"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

const rightPIN = daemontest.PIN(pivcard.DemoPIN)

// bench is a pcscd with readers, and an inkand that uses it.
type bench struct {
	*daemontest.Daemon
	pcscd *pcsctest.PCSCD
	t     *testing.T
}

func newBench(t *testing.T, readers ...string) *bench {
	t.Helper()
	return newBenchIn(t, "2s", readers...)
}

// newBenchIn is a bench on which a command may take so long.
func newBenchIn(t *testing.T, command string, readers ...string) *bench {
	t.Helper()
	b := &bench{t: t, pcscd: pcsctest.Start(t, pcsctest.Options{Readers: readers})}
	b.Daemon = daemontest.Start(t, daemontest.Options{PCSCD: true, Config: shortTimes(t, command)})
	return b
}

// shortTimes lets a test wait less than a person would.
func shortTimes(t *testing.T, command string) func(*daemon.Config) {
	return func(c *daemon.Config) {
		for span, text := range map[*daemon.Duration]string{&c.Card.Idle: "200ms", &c.Card.CommandTimeout: command} {
			if err := span.UnmarshalText([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// card is a virtual card and where it keeps its truth.
type card struct {
	*pivcard.Card
	dir string
}

// newCard makes a card; keys nil = elliptic curves, which are made at once.
func newCard(t *testing.T, keys map[pivcard.Slot]pivcard.KeyType) card {
	t.Helper()
	if keys == nil {
		keys = map[pivcard.Slot]pivcard.KeyType{
			pivcard.SlotAuthentication: pivcard.P256, pivcard.SlotSignature: pivcard.P256, pivcard.SlotCardAuth: pivcard.P256,
		}
	}
	dir := t.TempDir()
	c, err := pivcard.Open(pivcard.Options{Dir: dir, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return card{c, dir}
}

func (c card) truth(t *testing.T) pivcard.Truth {
	t.Helper()
	truth, err := pivcard.ReadTruth(c.dir)
	if err != nil {
		t.Fatal(err)
	}
	return truth
}

// cards waits until so many cards are known.
func (b *bench) cards(n int) []*inkanpb.CardStatus {
	b.t.Helper()
	return b.Await(func(s *inkanpb.Status) bool { return len(s.GetCards()) == n }).GetCards()
}

// key returns the key in a slot of a card.
func (b *bench) key(cardID, slot string) *inkanpb.Key {
	b.t.Helper()
	keys, err := b.Client(nil).Keys(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, k := range keys {
		if k.GetCardId() == cardID && k.GetSlot() == slot {
			return k
		}
	}
	b.t.Fatalf("card %s has no key in %s", cardID, slot)
	return nil
}

// sign signs "document" with the key's usual algorithm.
func sign(ctx context.Context, c *client.Client, key *inkanpb.Key, a inkanpb.Algorithm) (client.Signature, error) {
	h := client.AlgorithmHash(a).New()
	h.Write([]byte("document"))
	return c.Sign(ctx, client.SignRequest{KeyID: key.GetId(), Algorithm: a, Digest: h.Sum(nil), DocumentName: "入札書.pdf"})
}

// debits counts the tries that the journal ever spent, from the log: each
// intent of a PIN has its debit in the same barrier.
func (b *bench) debits() int { return b.debitsOf("") }

// debitsOf is debits of one card, or of all.
func (b *bench) debitsOf(cardID string) int {
	b.t.Helper()
	n := 0
	for rec, err := range b.Client(nil).Records(b.t.Context()) {
		if err != nil {
			b.t.Fatal(err)
		}
		if isDebit(rec) && (cardID == "" || rec.GetCardId() == cardID) {
			n++
		}
	}
	return n
}

// isDebit reports a record with whose barrier a try was spent: an intent, or the
// second PIN of a key that wants it for each use.
func isDebit(rec *inkanpb.Record) bool {
	return rec.GetKind() == inkanpb.RecordKind_RECORD_KIND_INTENT ||
		rec.GetKind() == inkanpb.RecordKind_RECORD_KIND_EVENT && rec.GetOperation() == "verify-again"
}

// neverMore checks that a card saw no more VERIFYs than tries were spent.
func (b *bench) neverMore(cards ...card) {
	b.t.Helper()
	verifies := 0
	for _, c := range cards {
		verifies += c.truth(b.t).Verifies
	}
	if n := b.debits(); verifies > n {
		b.t.Errorf("the cards saw %d VERIFYs, but only %d tries were recorded", verifies, n)
	}
}

func write(t *testing.T, dir, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
