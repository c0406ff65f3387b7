package house

import (
	"strings"
	"testing"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
	"github.com/inkan-project/inkan/token"
)

// kept is a house in which one signature went well.
func kept() (*House, Books) {
	h := &House{
		keys:    map[string]string{"9a": "A", "9e": "E"},
		calls:   map[string]*call{"document 1": {end: got, record: 2, signature: "s"}},
		journal: tally{seen: 3, pin: 1},
		pins:    []string{pivcard.DemoPIN},
	}
	return h, Books{
		Records: []audit.Record{
			{Sequence: 1, Kind: audit.KindIntent, Operation: "sign", Key: "A", DocumentName: "document 1", Hash: [32]byte{1}},
			{Sequence: 2, Kind: audit.KindResult, Operation: "sign", Key: "A", DocumentName: "document 1", Intent: 1, Outcome: audit.OutcomeOK, Hash: [32]byte{2}},
		},
		Truth: pivcard.Truth{Verifies: 1, Signatures: []pivcard.Signature{{SignatureSHA256: "s"}}, PINLeft: 10, UnlockLeft: 10},
	}
}

func TestEachBrokenInvariantOfTheBooksIsFound(t *testing.T) {
	tests := map[string]struct {
		spoil func(*House, *Books)
		want  int // invariant; 0 = nothing is broken
		text  string
	}{
		"nothing": {func(*House, *Books) {}, 0, ""},
		"a PIN that no intent allowed": {func(h *House, b *Books) {
			b.Truth.Verifies++
			h.journal.pin++
		}, 1, "the log has 1 intents"},
		"a PIN that no try allowed":          {func(h *House, _ *Books) { h.journal.pin = 0 }, 1, "the journal had 0 tries"},
		"an unlock code that no try allowed": {func(_ *House, b *Books) { b.Truth.UnlockVerifies++ }, 1, "1 unlock codes"},
		"an unreadable slot was a try": {func(h *House, _ *Books) {
			h.journal.pin, h.journal.unreadable = 0, 1
		}, 0, ""},
		"a signature for a caller who was refused": {func(h *House, _ *Books) { h.calls["document 1"].end = refused }, 3, "told otherwise"},
		"a signature for nobody":                   {func(h *House, _ *Books) { delete(h.calls, "document 1") }, 3, "told otherwise"},
		"a signature without a record": {func(_ *House, b *Books) {
			b.Records[1].Outcome = audit.OutcomeUnknown
		}, 3, "signed as record 2, the log has it as 0"},
		"a signature that the card did not make": {func(_ *House, b *Books) { b.Truth.Signatures = nil }, 3, "not one of the card's"},
		"one signature kept back by a kill":      {func(h *House, _ *Books) { h.calls["document 1"].end = cut }, 0, ""},
		"two signatures kept back by a kill": {func(h *House, b *Books) {
			h.calls["document 1"].end = cut
			h.calls["document 2"] = &call{end: cut}
			h.journal.pin++
			intent, result := b.Records[0], b.Records[1]
			intent.Sequence, result.Sequence, result.Intent = 3, 4, 3
			intent.DocumentName, result.DocumentName = "document 2", "document 2"
			b.Records = append(b.Records, intent, result)
		}, 3, "one kill kept 2 signatures back"},
		"an intent without a result": {func(h *House, b *Books) {
			b.Records = b.Records[:1]
			h.calls["document 1"].end = cut
		}, 4, "intent 1 (sign) has 0 results"},
		"a result without an intent": {func(_ *House, b *Books) { b.Records[1].Intent = 7 }, 4, "has 0 results"},
		"a log that was cut":         {func(h *House, _ *Books) { h.tip = tip{sequence: 3} }, 5, "it had 3"},
		"a log that is another one":  {func(h *House, _ *Books) { h.tip = tip{2, [32]byte{9}} }, 5, "record 2 is another"},
		"a chain that is broken":     {func(_ *House, b *Books) { b.Chain = token.NewError(token.KindDatabaseDamaged) }, 5, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h, b := kept()
			tt.spoil(h, &b)
			found := h.audit(b)
			if tt.want == 0 {
				if len(found) > 0 {
					t.Errorf("found %v, want nothing", found)
				}
				return
			}
			if len(found) == 0 || found[0].Invariant != tt.want || !strings.Contains(found[0].Text, tt.text) {
				t.Errorf("found %v, want I%d: ... %s", found, tt.want, tt.text)
			}
		})
	}
}

func TestWhatIsShownIsHeldAgainstTheCard(t *testing.T) {
	shown := func(pin, unlock uint32, known bool, state inkanpb.CardState) *inkanpb.CardStatus {
		return &inkanpb.CardStatus{
			State: state, Pin: &inkanpb.PinStatus{TriesLeft: &pin, TriesKnown: known},
			UnlockCode: &inkanpb.PinStatus{TriesLeft: &unlock},
		}
	}
	const ready, stopped, held = inkanpb.CardState_CARD_STATE_READY, inkanpb.CardState_CARD_STATE_STOPPED_HERE, inkanpb.CardState_CARD_STATE_HELD
	truth := pivcard.Truth{PINLeft: 9, UnlockLeft: 10}
	tests := map[string]struct {
		card *inkanpb.CardStatus
		stop settled
		want int
	}{
		"as it is":                       {shown(9, 10, true, ready), no, 0},
		"fewer":                          {shown(8, 9, true, ready), no, 0},
		"too many tries of the PIN":      {shown(10, 10, true, ready), no, 2},
		"too many of the unlock code":    {shown(9, 11, true, ready), no, 2},
		"too many, as a guess":           {shown(10, 10, false, ready), no, 2},
		"a stop that is gone":            {shown(9, 10, true, ready), yes, 6},
		"a stop that nobody asked for":   {shown(9, 10, true, stopped), no, 9},
		"a stop that was cut off":        {shown(9, 10, true, stopped), either, 0},
		"a card that is held for naught": {shown(9, 10, true, held), no, 9},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h, _ := kept()
			h.stop = tt.stop
			var found Findings
			h.shown(tt.card, truth, &found)
			if tt.want == 0 && len(found) > 0 || tt.want != 0 && (len(found) != 1 || found[0].Invariant != tt.want) {
				t.Errorf("found %v, want invariant %d", found, tt.want)
			}
		})
	}
}

func TestTheJournalIsCountedOnceAndItsGapsAreSeen(t *testing.T) {
	try := func(secret token.Secret, attempt uint64) pinguard.Spent {
		return pinguard.Spent{Secret: secret, Attempt: attempt}
	}
	var all tally
	all = all.with(pinguard.Inspection{First: 1, Last: 4, Tries: []pinguard.Spent{try(token.SecretPIN, 2), try(token.SecretUnlockCode, 4)}})
	all = all.with(pinguard.Inspection{First: 1, Last: 6, Unreadable: 1, Tries: []pinguard.Spent{
		try(token.SecretPIN, 2), try(token.SecretUnlockCode, 4), try(token.SecretPIN, 5),
	}})
	if want := (tally{seen: 6, pin: 2, unlock: 1, unreadable: 1}); all != want {
		t.Errorf("counted %+v, want %+v", all, want)
	}
	if all = all.with(pinguard.Inspection{First: 20, Last: 22}); !all.blind {
		t.Error("a journal that began anew in between was taken for whole")
	}
}
