package pcscdtest_test

import (
	"errors"
	"os"
	"testing"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/pcsc/pcsctest"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// The card is swapped while it changes hands between inkand and the module, at
// each command of the way: the other card never sees the PIN, and the tries of
// the first are never given back by the other's.
func TestASwapOnTheWayToAModuleGivesNoPINToTheOther(t *testing.T) {
	gaps := []int{2, 5, 8, 11, 14}
	if os.Getenv("TIER") == "n" {
		gaps = nil
		for i := range 17 { // as many as there are before the PIN
			gaps = append(gaps, i)
		}
	}
	b := newModuleBench(t)
	reader := b.pcscd.Reader("Inkan Test")
	p := &person{}
	holder := b.Client(p)
	for _, gap := range gaps {
		mine, other := newCard(t, nil), newCard(t, nil)
		reader.Insert(mine)
		id := b.cards(1)[0].GetId()
		key := b.key(id, "01")
		p.tell(knows{wrong: true})
		if _, err := holder.VerifyPIN(t.Context(), id); !errors.Is(err, client.ErrPINWrong) {
			t.Fatalf("gap %d: a wrong PIN: %v", gap, err)
		}
		p.tell(knows{pin: pivcard.DemoPIN})
		reader.Arrange(pcsctest.Fault{Skip: gap, Insert: other})
		_, err := sign(t.Context(), holder, key, inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256)
		if saw := other.truth(t); saw.Verifies != 0 || err == nil && len(saw.Signatures) > 0 {
			t.Errorf("gap %d: the other card saw %d PINs (%v)", gap, saw.Verifies, err)
		}
		reader.Remove()
		b.cards(0)
		reader.Insert(mine)
		card := b.awaitCard(in(reader))
		if left, has := card.GetPin().GetTriesLeft(), mine.truth(t).PINLeft; card.GetId() == id && int(left) > has {
			t.Errorf("gap %d: %d tries are shown, the card has %d (%v)", gap, left, has, err)
		}
		reader.Remove()
		b.cards(0)
	}
}
