package piv_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/piv"
)

func TestIdentityIsTheNumberInTheCHUID(t *testing.T) {
	guid, fascn := tlv(0x34, unhex(t, testGUID)), tlv(0x30, unhex(t, testFASCN))
	zeroGUID, zeroFASCN := tlv(0x34, make([]byte, 16)), tlv(0x30, make([]byte, 25))
	byGUID := token.Identity{Card: testCard, Serial: "00112233-4455-6677-8899-aabbccddeeff", Application: "PIV"}
	byFASCN := token.Identity{Card: "piv-fascn-" + testFASCN, Serial: testFASCN, Application: "PIV"}
	unknown := token.Identity{Card: "piv-unknown", Application: "PIV"}
	virtual := token.Identity{Card: "piv-494e4b56445566778899aabbccddeeff", Serial: "494e4b56-4455-6677-8899-aabbccddeeff", Application: "PIV", Virtual: true}
	tests := []struct {
		name  string
		chuid []byte // nil = the card has none
		want  token.Identity
	}{
		{"a GUID", object(fascn, guid), byGUID},
		{"a GUID alone", object(guid), byGUID},
		{"a GUID behind objects of older cards", object(tlv(0xEE, []byte{1, 2}), fascn, guid, tlv(0x3E, bytes.Repeat([]byte{7}, 900))), byGUID},
		{"a GUID of the virtual card", object(tlv(0x34, append([]byte("INKV"), unhex(t, testGUID)[4:]...))), virtual},
		{"a GUID of zeros: the FASC-N", object(fascn, zeroGUID), byFASCN},
		{"no GUID: the FASC-N", object(fascn), byFASCN},
		{"an empty GUID: the FASC-N", object(fascn, tlv(0x34, nil)), byFASCN},
		{"a GUID one byte long: the FASC-N", object(fascn, tlv(0x34, []byte{1})), byFASCN},
		{"zeros in both", object(zeroFASCN, zeroGUID), unknown},
		{"an empty CHUID", object(), unknown},
		{"no CHUID", nil, unknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			card := &fakeCard{objects: map[uint32][]byte{}}
			if tt.chuid != nil {
				card.objects[chuidObject] = tt.chuid
			}
			got, err := piv.Open(card, piv.Options{}).Identify(t.Context())
			if err != nil {
				t.Fatalf("Identify: %v", err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("identity (-want +got):\n%s", diff)
			}
			want := [][]byte{unhex(t, "00a4040009a0000003080000100000"), unhex(t, "00cb3fff055c035fc10200")}
			if diff := cmp.Diff(want, card.sent); diff != "" {
				t.Errorf("commands (-want +got):\n%s", diff)
			}
			if strings.Contains(string(got.Card), ".") {
				t.Errorf("card identity %q has a dot, which ends it in a key identity", got.Card)
			}
		})
	}
}

func TestADamagedCHUIDIsNoNewIdentity(t *testing.T) {
	// Another identity would be a new count of tries for the same card.
	whole := chuid(t)
	for name, answer := range map[string][]byte{
		"cut inside the GUID":         append(append([]byte{}, whole[:40]...), 0x90, 0x00),
		"nothing at all":              sw(0x9000),
		"another data object":         append(tlv(0x54, nil), 0x90, 0x00),
		"a length beyond its end":     object([]byte{0x34, 0x10, 0x01}),
		"memory failure":              sw(0x6581),
		"no precise diagnosis":        sw(0x6F00),
		"a PIN is wanted for reading": sw(0x6982),
	} {
		card := newCard(t)
		card.objects[chuidObject] = answer
		tok := piv.Open(card, piv.Options{})
		got, err := tok.Identify(t.Context())
		if token.KindOf(err) != token.KindCardFault || got != (token.Identity{}) {
			t.Errorf("%s: Identify = %+v, %v, want %s", name, got, err, token.KindCardFault)
		}
		if _, err := tok.Keys(t.Context()); err == nil {
			t.Errorf("%s: Keys gives no error after a failed Identify", name)
		}
	}
}

func TestAForeignCardIsNotMine(t *testing.T) {
	for _, word := range []uint16{0x6A82, 0x6A81, 0x6A86, 0x6A80, 0x6700, 0x6D00, 0x6E00, 0x6881, 0x6882, 0x6999} {
		card := newCard(t)
		card.selects = word
		if _, err := piv.Open(card, piv.Options{}).Identify(t.Context()); !errors.Is(err, token.ErrNotMine) {
			t.Errorf("SELECT answered %04X: Identify = %v, want %v", word, err, token.ErrNotMine)
		}
		if len(card.sent) != 1 {
			t.Errorf("SELECT answered %04X: %d commands were sent, want 1", word, len(card.sent))
		}
	}
	for _, word := range []uint16{0x6F00, 0x6581, 0x6283, 0x6982, 0x6300, 0xFFFF} {
		card := newCard(t)
		card.selects = word
		_, err := piv.Open(card, piv.Options{}).Identify(t.Context())
		if errors.Is(err, token.ErrNotMine) || token.KindOf(err) != token.KindCardFault {
			t.Errorf("SELECT answered %04X: Identify = %v, want %s", word, err, token.KindCardFault)
		}
	}
	card := newCard(t)
	card.objects[chuidObject] = sw(0x6D00)
	if _, err := piv.Open(card, piv.Options{}).Identify(t.Context()); !errors.Is(err, token.ErrNotMine) {
		t.Errorf("a card that selects anything but knows no GET DATA: Identify = %v, want %v", err, token.ErrNotMine)
	}
}
