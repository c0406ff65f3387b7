package p11

import (
	"errors"
	"strings"
	"testing"

	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/p11/frame"
)

func TestTheSlotOfAReaderIsPickedByItsName(t *testing.T) {
	const reader = "ACS ACR39U ICC Reader 00 00"
	long := strings.Repeat("x", 60) + " Reader 00 00" // 73 bytes
	kanji := strings.Repeat("印", 22)                  // 66 bytes; 64 end within a character
	is := func(serial string) *frame.TokenInfo {
		return &frame.TokenInfo{Serial: serial, Label: "label " + serial, Flags: flagInitialized}
	}
	slot := func(id uint, description string, token *frame.TokenInfo) frame.Slot {
		return frame.Slot{ID: id, Description: description, Token: token}
	}
	for _, tt := range []struct {
		name   string
		reader string
		cards  int
		filter Filter
		slots  []frame.Slot
		want   uint
		kind   token.Kind // or notMine
	}{
		{"its slot", reader, 2, Filter{}, []frame.Slot{slot(1, "another", is("1")), slot(2, reader, is("2"))}, 2, ""},
		{"its slot is empty", reader, 1, Filter{}, []frame.Slot{slot(1, "another", is("1")), slot(2, reader, nil)}, 0, notMine},
		{"its token is not initialized", reader, 1, Filter{}, []frame.Slot{slot(2, reader, &frame.TokenInfo{})}, 0, notMine},
		{"no slots", reader, 1, Filter{}, nil, 0, notMine},
		{"a name of 64 bytes", long[:64], 2, Filter{}, []frame.Slot{slot(3, long[:64], is("1"))}, 3, ""},
		{"a name that is cut at 64 bytes", long, 2, Filter{}, []frame.Slot{slot(4, long[:64], is("1"))}, 4, ""},
		{"a name that is cut within a character", kanji, 2, Filter{}, []frame.Slot{slot(5, clean(kanji[:64]), is("1"))}, 5, ""},
		{"two readers of the same first 64 bytes", long, 2, Filter{}, []frame.Slot{slot(1, long[:64], is("1")), slot(2, long[:64], is("2"))}, 0, token.KindTokenAmbiguous},
		{"two tokens in one reader", reader, 1, Filter{}, []frame.Slot{slot(1, reader, is("1")), slot(2, reader, is("2"))}, 0, token.KindTokenAmbiguous},
		{"one of two by serial number", reader, 1, Filter{Serial: "2"}, []frame.Slot{slot(1, reader, is("1")), slot(2, reader, is("2"))}, 2, ""},
		{"one of two by label", reader, 1, Filter{Label: "label 1"}, []frame.Slot{slot(1, reader, is("1")), slot(2, reader, is("2"))}, 1, ""},
		{"none of the one wanted", reader, 1, Filter{Model: "other"}, []frame.Slot{slot(1, reader, is("1"))}, 0, notMine},
		{"names of its own, one token and one card", reader, 1, Filter{}, []frame.Slot{slot(6, "Slot A", is("1")), slot(7, "Slot B", nil)}, 6, ""},
		{"names of its own, one token and two cards", reader, 2, Filter{}, []frame.Slot{slot(6, "Slot A", is("1"))}, 0, notMine},
		{"names of its own, two tokens", reader, 1, Filter{}, []frame.Slot{slot(6, "A", is("1")), slot(7, "B", is("2"))}, 0, notMine},
		{"no name", reader, 1, Filter{}, []frame.Slot{slot(8, "", is("1"))}, 8, ""},
		{"no name, two cards", "", 2, Filter{}, []frame.Slot{slot(8, "", is("1"))}, 0, notMine},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := pick(tt.slots, &Module{Name: "m", Token: tt.filter}, tt.reader, tt.cards)
			kind := token.KindOf(err)
			if errors.Is(err, token.ErrNotMine) {
				kind = notMine
			}
			if kind != tt.kind || got.ID != tt.want {
				t.Errorf("slot %d, %v, want %d, %s", got.ID, err, tt.want, tt.kind)
			}
		})
	}
}

// notMine stands for token.ErrNotMine.
const notMine token.Kind = "NOT_MINE"
