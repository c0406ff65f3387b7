package cli

import (
	"slices"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// verdict is what a status comes to, in one line.
type verdict struct {
	says  string
	paint paint
}

// verdict says whether a signature can be made now, and if not what is missing
// first.
func (a *app) verdict(s *inkanpb.Status) verdict {
	no := func(en, ja string) verdict {
		return verdict{a.say("Not ready: ", "署名できません: ") + a.say(en, ja), paintBad}
	}
	if m := s.GetService().GetMissing(); m != inkanpb.Layer_LAYER_UNSPECIFIED {
		return no(a.layerWord(m)+" missing (inkan doctor says more)", a.layerWord(m)+"がありません(詳しくは inkan doctor)")
	}
	for _, n := range s.GetService().GetNotices() {
		switch reasonOf(n.GetCode()) { // nothing is signed without journal and log
		case inkanpb.Reason_REASON_JOURNAL_UNAVAILABLE, inkanpb.Reason_REASON_AUDIT_UNAVAILABLE:
			return no(n.GetCode()+" (inkan doctor says more)", n.GetCode()+"(詳しくは inkan doctor)")
		default:
		}
	}
	cards := s.GetCards()
	if !slices.ContainsFunc(s.GetReaders(), (*inkanpb.ReaderStatus).GetCardPresent) {
		return no("no card in a reader", "リーダにICカードがありません")
	}
	if len(cards) == 0 {
		return verdict{a.say("A card is inserted; its state is shown to signers only", "カードがあります(状態は署名者だけに表示します)"), paintNote}
	}
	ready, low := 0, 0
	for _, c := range cards {
		switch {
		case !usable(c):
		case c.GetState() == inkanpb.CardState_CARD_STATE_LOW:
			low++
		default:
			ready++
		}
	}
	switch {
	case ready > 0:
		return verdict{a.say("Ready to sign", "署名できます"), paintGood}
	case low > 0:
		return verdict{a.say("Ready to sign, but few tries of the PIN are left", "署名できます。ただし暗証番号の残り回数がわずかです"), paintNote}
	}
	return no(a.hindrance(cards[0]), a.hindrance(cards[0]))
}

// usable reports whether a card takes a PIN now and has a certificate to sign
// with.
func usable(c *inkanpb.CardStatus) bool {
	return takesPIN(c) && (len(c.GetCertificates()) == 0 || hasGoodCertificate(c))
}

func takesPIN(c *inkanpb.CardStatus) bool {
	state := c.GetState()
	return (state == inkanpb.CardState_CARD_STATE_READY || state == inkanpb.CardState_CARD_STATE_LOW) &&
		!c.GetPin().GetReinsert() && seconds(c.GetPin()) == 0
}

func hasGoodCertificate(c *inkanpb.CardStatus) bool {
	for _, cert := range c.GetCertificates() {
		if certificatePaint(cert.GetState()) != paintBad {
			return true
		}
	}
	return false
}

// hindrance says why a card does not sign now.
func (a *app) hindrance(c *inkanpb.CardStatus) string {
	state := a.forPeople(cardStateWord(c.GetState()))
	switch {
	case c.GetState() != inkanpb.CardState_CARD_STATE_READY && c.GetState() != inkanpb.CardState_CARD_STATE_LOW:
		return a.say("the card is "+state, "カードの状態が「"+state+"」です")
	case c.GetPin().GetReinsert():
		return a.say("the card must be inserted again", "カードの差直しが必要です")
	case seconds(c.GetPin()) > 0:
		return a.say("the next try of the PIN must wait", "次の照合まで待つ必要があります")
	}
	return a.say("no certificate that can be used", "使える証明書がありません")
}
