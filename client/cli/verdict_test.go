package cli

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// aStatus is a card that is ready, in the second of two readers.
func aStatus(change func(s *inkanpb.Status, c *inkanpb.CardStatus)) *inkanpb.Status {
	card := &inkanpb.CardStatus{
		Id: "piv-00112233445566778899aabbccddeeff", Company: "株式会社サンプルホールディングス東日本第二営業本部", State: inkanpb.CardState_CARD_STATE_READY,
		Reader: "Sample Reader 01 00", Pin: &inkanpb.PinStatus{TriesLeft: proto.Uint32(10), TriesKnown: true, Limit: 10},
		UnlockCode: &inkanpb.PinStatus{}, Certificates: []*inkanpb.Certificate{{
			Holder: "代表取締役 PIV 9c Digital Signature", Serial: "7DAA99D3D700C6347987806E0CFD9ED7",
			State: inkanpb.CertificateState_CERTIFICATE_STATE_UNKNOWN, NotAfter: timestamppb.New(time.Now().Add(20*24*time.Hour + time.Hour)),
		}},
	}
	s := &inkanpb.Status{
		Service: &inkanpb.ServiceStatus{Version: "v1.0.0"}, Cards: []*inkanpb.CardStatus{card},
		Readers: []*inkanpb.ReaderStatus{{Name: "Sample Reader 00 00", CardPresent: true, Problem: "INK-2014"}, {Name: "Sample Reader 01 00", CardPresent: true}},
	}
	if change != nil {
		change(s, card)
	}
	return s
}

func TestTheFirstLineSaysWhetherASignatureCanBeMade(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(s *inkanpb.Status, c *inkanpb.CardStatus)
		en, ja string
		paint  paint
	}{
		"all well":      {nil, "Ready to sign", "署名できます", paintGood},
		"pcscd missing": {func(s *inkanpb.Status, _ *inkanpb.CardStatus) { s.Service.Missing = inkanpb.Layer_LAYER_PCSCD }, "Not ready: pcscd missing (inkan doctor says more)", "署名できません: pcscdがありません(詳しくは inkan doctor)", paintBad},
		"log closed": {func(s *inkanpb.Status, _ *inkanpb.CardStatus) {
			s.Service.Notices = []*inkanpb.ServiceNotice{{Code: "INK-5001"}}
		}, "Not ready: INK-5001 (inkan doctor says more)", "署名できません: INK-5001(詳しくは inkan doctor)", paintBad},
		"a notice": {func(s *inkanpb.Status, _ *inkanpb.CardStatus) {
			s.Service.Notices = []*inkanpb.ServiceNotice{{Code: "INK-5015"}}
		}, "Ready to sign", "署名できます", paintGood},
		"few tries":      {func(_ *inkanpb.Status, c *inkanpb.CardStatus) { c.State = inkanpb.CardState_CARD_STATE_LOW }, "Ready to sign, but few tries of the PIN are left", "署名できます。ただし暗証番号の残り回数がわずかです", paintNote},
		"stopped":        {func(_ *inkanpb.Status, c *inkanpb.CardStatus) { c.State = inkanpb.CardState_CARD_STATE_STOPPED_HERE }, "Not ready: the card is stopped here", "署名できません: カードの状態が「使用停止」です", paintBad},
		"to be inserted": {func(_ *inkanpb.Status, c *inkanpb.CardStatus) { c.Pin.Reinsert = true }, "Not ready: the card must be inserted again", "署名できません: カードの差直しが必要です", paintBad},
		"to be waited":   {func(_ *inkanpb.Status, c *inkanpb.CardStatus) { c.Pin.Wait = durationpb.New(time.Second) }, "Not ready: the next try of the PIN must wait", "署名できません: 次の照合まで待つ必要があります", paintBad},
		"expired": {func(_ *inkanpb.Status, c *inkanpb.CardStatus) {
			c.Certificates[0].State = inkanpb.CertificateState_CERTIFICATE_STATE_EXPIRED
		}, "Not ready: no certificate that can be used", "署名できません: 使える証明書がありません", paintBad},
		"a second card that is ready": {func(s *inkanpb.Status, c *inkanpb.CardStatus) {
			c.State = inkanpb.CardState_CARD_STATE_LOCKED
			s.Cards = append(s.Cards, aStatus(nil).GetCards()...)
		}, "Ready to sign", "署名できます", paintGood},
		"a stranger asks": {func(s *inkanpb.Status, _ *inkanpb.CardStatus) { s.Cards = nil }, "A card is inserted; its state is shown to signers only", "カードがあります(状態は署名者だけに表示します)", paintNote},
	} {
		for lang, want := range map[string]string{"en": tt.en, "ja": tt.ja} {
			if got := (&app{lang: lang}).verdict(aStatus(tt.change)); got != (verdict{want, tt.paint}) {
				t.Errorf("%s: %+v, want %q", name, got, want)
			}
		}
	}
}

// Whatever is wrong, no line is wider than the terminal, but for names that
// have no place to break.
func TestTheStatusFitsNarrowTerminals(t *testing.T) {
	s := aStatus(func(s *inkanpb.Status, c *inkanpb.CardStatus) {
		c.State, c.Pin.Unaccounted, c.Pin.Wait, c.UnlockCode.Reinsert = inkanpb.CardState_CARD_STATE_HELD, 2, durationpb.New(29*time.Second), true
		s.Service.Virtual = true
		s.Service.Notices = []*inkanpb.ServiceNotice{{Code: "INK-5015", En: strings.Repeat("word ", 40), Ja: strings.Repeat("漢字とかな。", 40)}}
	})
	for _, lang := range []string{"en", "ja"} {
		for _, width := range []int{60, 80, 100} {
			lines := (&app{lang: lang}).statusLines(s, "/run/inkan/inkan.sock", width)
			for _, line := range lines {
				if cellsOf(line) > width {
					t.Errorf("%s at %d: %q takes %d cells", lang, width, line, cellsOf(line))
				}
			}
			page := strings.Join(lines, "\n")
			for _, want := range []string{"INK-2014", "20", "…0CFD9ED7", "piv-00112233445566778899aabbccddeeff"} {
				if !strings.Contains(page, want) {
					t.Errorf("%s at %d lacks %q:\n%s", lang, width, want, page)
				}
			}
		}
	}
}
