package prompt

import (
	"testing"

	"github.com/inkan-project/inkan/token"
)

func TestTriesThatTheCardDidNotConfirmAreShownAsAtMost(t *testing.T) {
	for _, confirmed := range []bool{false, true} {
		r := request()
		r.Tries, r.TriesConfirmed = token.KnownTries(4), confirmed
		if p := promptPacket("id", r).GetPrompt(); p.GetTriesLeft() != 4 || p.GetTriesKnown() != confirmed {
			t.Errorf("4 tries, confirmed %t, are shown as %d, confirmed %t", confirmed, p.GetTriesLeft(), p.GetTriesKnown())
		}
	}
}
