package pcscdtest_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/daemon/daemontest"
	"github.com/inkan-project/inkan/pcsc/pcsctest"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// commands of a signature with the PIN, in their order.
var commands = []string{"SELECT", "GET DATA", "empty VERIFY", "VERIFY", "GENERAL AUTHENTICATE"}

const verifyCommand = 3 // from here on a try was recorded

// TestALossAtEachCommandOfASignatureNeverSpendsWithoutARecord loses each command
// in turn: the card is pulled before, during and after it, or stays in and the
// command or the answer is dropped. Each way has a reader and a card of its own.
func TestALossAtEachCommandOfASignatureNeverSpendsWithoutARecord(t *testing.T) {
	ways := map[string]pcsctest.Fault{
		"Pulled before": {}, "Pulled during": {Acts: true, Cut: 1}, "Pulled after": {Acts: true},
		"Dropped before": {Drop: true}, "Dropped after": {Drop: true, Acts: true},
	}
	b := newBench(t, slices.Collect(maps.Keys(ways))...)
	right, wrong := b.Client(rightPIN), b.Client(daemontest.WrongPINs()) // of all: a user has at most eight PIN agents
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := gap{b: b, t: t, reader: b.pcscd.Reader(name), card: newCard(t, nil), right: right, wrong: wrong}
			g.reader.Insert(g.card)
			g.id = g.await(in(g.reader)).GetId()
			g.key = b.key(g.id, "9a")
			g.await(full(g.id))
			for i := range commands {
				g.lose(i, "a right PIN", g.right, way)
				if i == verifyCommand { // before it no PIN plays a part, and a wrong one gets no further
					g.lose(i, "a wrong PIN", g.wrong, way)
				}
			}
			g.released()
		})
	}
}

// TestAReaderThatGivesUpAfterInkandDidServesTheCardAgain drops a VERIFY before
// a reader that waits for longer than inkand does.
func TestAReaderThatGivesUpAfterInkandDidServesTheCardAgain(t *testing.T) {
	b := newBenchIn(t, "1s")
	g := gap{b: b, t: t, reader: b.pcscd.Reader("Inkan Test"), card: newCard(t, nil), right: b.Client(rightPIN)}
	g.reader.Insert(g.card)
	g.id = g.await(in(g.reader)).GetId()
	g.key = b.key(g.id, "9a")
	g.await(full(g.id))
	g.lose(verifyCommand, "a right PIN", g.right, pcsctest.Fault{Drop: true, Delay: 2500 * time.Millisecond})
	g.released()
}

// gap is one card that is lost and found, again and again.
type gap struct {
	b      *bench
	t      *testing.T
	reader *pcsctest.Reader
	card   card
	id     string
	key    *inkanpb.Key
	right  *client.Client
	wrong  *client.Client
	signed int // signatures that Sign returned
}

// lose signs while command i gets lost, and brings the card back.
func (g *gap) lose(i int, name string, c *client.Client, way pcsctest.Fault) {
	g.t.Helper()
	name = fmt.Sprintf("%s with %s", commands[i], name)
	verifies, intents := g.card.truth(g.t).Verifies, g.count().intents
	way.Skip = i
	struck := g.reader.Arrange(way)
	sig, err := sign(g.t.Context(), c, g.key, inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256)
	if !lost(err) || len(sig.Bytes) > 0 {
		g.t.Errorf("%s: Sign gave %d bytes, error %v", name, len(sig.Bytes), err)
	}
	if i == verifyCommand && !errors.Is(err, client.ErrPINNoVerdict) {
		g.t.Errorf("%s: %v, want PIN_NO_VERDICT", name, err)
	}
	happened(g.t, name, struck)
	var spent, seen int
	if i >= verifyCommand {
		spent = 1
	}
	if i > verifyCommand || i == verifyCommand && way.Acts {
		seen = 1
	}
	if n := g.count().intents - intents; n != spent {
		g.t.Errorf("%s: %d tries recorded, want %d", name, n, spent)
	}
	if n := g.card.truth(g.t).Verifies - verifies; n != seen {
		g.t.Errorf("%s: the card saw %d VERIFYs, want %d", name, n, seen)
	}
	switch {
	case c == g.wrong && way.Drop: // a user has two tries for an insertion that are not right
		g.reader.Remove()
		g.reinsert()
	case !way.Drop:
		g.reinsert()
	case way.Delay > 0:
		g.recover(name)
	}
	g.back(name)
}

// happened waits for a fault, but not for ever.
func happened(t *testing.T, name string, struck <-chan struct{}) {
	t.Helper()
	select {
	case <-struck:
	case <-time.After(hangs):
		t.Fatalf("%s: the fault did not strike", name)
	}
}

// recover signs as soon as that is possible: the reader is not used before the
// call that inkand gave up has returned, and a refusal spends nothing.
func (g *gap) recover(name string) {
	g.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline, intents := time.After(hangs), g.count().intents
	for {
		_, err := sign(g.t.Context(), g.right, g.key, inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256)
		if err == nil {
			g.signed++
			break
		}
		if !errors.Is(err, client.ErrCardSilent) {
			g.t.Fatalf("%s: Sign until the reader is free: %v", name, err)
		}
		select {
		case <-tick.C:
		case <-deadline:
			g.t.Fatalf("%s: the card was not found usable again: %v", name, err)
		}
	}
	if n := g.count().intents - intents; n != 1 {
		g.t.Errorf("%s: %d tries recorded for one signature", name, n)
	}
}

// reinsert puts a card in again when it is seen to be gone.
func (g *gap) reinsert() {
	g.t.Helper()
	g.await(func(s *inkanpb.Status) *inkanpb.CardStatus {
		if in(g.reader)(s) == nil {
			return &inkanpb.CardStatus{}
		}
		return nil
	})
	g.reader.Insert(g.card)
}

// back uses the card that is in again: never more tries are shown than it has,
// and a right PIN gets all of them back.
func (g *gap) back(name string) {
	g.t.Helper()
	shown := g.await(in(g.reader)).GetPin().GetTriesLeft()
	if left := g.card.truth(g.t).PINLeft; int(shown) > left {
		g.t.Errorf("%s: %d tries shown, the card has %d", name, shown, left)
	}
	if _, err := sign(g.t.Context(), g.right, g.key, inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256); err != nil {
		g.t.Fatalf("%s: Sign after it is back: %v", name, err)
	}
	g.signed++
	g.await(full(g.id)) // the last that is sent to the card before it is let go
	if left := g.card.truth(g.t).PINLeft; left != 10 {
		g.t.Errorf("%s: the card has %d tries after a right PIN, want 10", name, left)
	}
}

// released checks that the log knows of as many signatures as came out, and of
// each try.
func (g *gap) released() {
	n, truth := g.count(), g.card.truth(g.t)
	if n.released != g.signed {
		g.t.Errorf("the log has %d signatures, %d came out", n.released, g.signed)
	}
	if truth.Verifies > n.intents {
		g.t.Errorf("the card saw %d VERIFYs, but only %d tries were recorded", truth.Verifies, n.intents)
	}
}

type counted struct{ intents, released int }

// count counts what the log has of this card.
func (g *gap) count() (n counted) {
	g.t.Helper()
	for rec, err := range g.right.Records(g.t.Context()) {
		switch {
		case err != nil:
			g.t.Fatal(err)
		case rec.GetCardId() != g.id:
		case rec.GetKind() == inkanpb.RecordKind_RECORD_KIND_INTENT:
			n.intents++
		case rec.GetKind() == inkanpb.RecordKind_RECORD_KIND_RESULT && rec.GetOutcome() == "OK":
			n.released++
		}
	}
	return n
}

// await waits for a card.
func (g *gap) await(find func(*inkanpb.Status) *inkanpb.CardStatus) *inkanpb.CardStatus {
	g.t.Helper()
	return g.b.awaitCard(find)
}

// awaitCard waits until a card is as wanted, and returns it.
func (b *bench) awaitCard(find func(*inkanpb.Status) *inkanpb.CardStatus) *inkanpb.CardStatus {
	b.t.Helper()
	return find(b.Await(func(s *inkanpb.Status) bool { return find(s) != nil }))
}

// in finds the card in a reader.
func in(r *pcsctest.Reader) func(*inkanpb.Status) *inkanpb.CardStatus {
	return func(s *inkanpb.Status) *inkanpb.CardStatus {
		for _, c := range s.GetCards() {
			if c.GetReader() == r.Name {
				return c
			}
		}
		return nil
	}
}

// full finds a card that has said that it has all its tries: nothing will be
// sent to it by itself.
func full(id string) func(*inkanpb.Status) *inkanpb.CardStatus {
	return func(s *inkanpb.Status) *inkanpb.CardStatus {
		for _, c := range s.GetCards() {
			if c.GetId() == id && c.GetPin().GetTriesLeft() == 10 && c.GetPin().GetTriesKnown() {
				return c
			}
		}
		return nil
	}
}

// lost reports whether an error is one of a card that went away.
func lost(err error) bool {
	for _, known := range []error{
		client.ErrCardChanged, client.ErrCardNotFound, client.ErrCardRemoved, client.ErrCardSilent, client.ErrPINNoVerdict,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}
