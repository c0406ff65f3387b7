package p11

import (
	"errors"
	"testing"

	"github.com/inkan-project/inkan/pcsc"
)

func TestATokenIsGoneOnlyWhenItIsMissingTwice(t *testing.T) {
	slot := func(ref string) []slotRef {
		return []slotRef{{ref: ref, state: pcsc.ReaderState{Name: "slot", Present: ref != ""}}}
	}
	failed := []slotRef{{broken: errors.New("it failed"), ref: "it failed", state: pcsc.ReaderState{Name: "softhsm", Present: true}}}
	for _, tt := range []struct {
		name        string
		before, now []slotRef
		twice       bool // it is believed only when seen twice
	}{
		{"nothing was there", nil, slot("a"), false},
		{"the same token", slot("a"), slot("a"), false},
		{"a token that comes", slot(""), slot("a"), false},
		{"a token that is missing", slot("a"), slot(""), true},
		{"a slot that is missing", slot("a"), nil, true},
		{"another token", slot("a"), slot("b"), true},
		{"a module that works again", failed, slot("a"), false},
	} {
		var d doubt
		if got := d.believes(tt.before, tt.now); got == tt.twice {
			t.Errorf("%s: believed at first: %v", tt.name, got)
		}
		if got := d.believes(tt.before, tt.now); !got {
			t.Errorf("%s: not believed when seen twice", tt.name)
		}
	}
	var d doubt
	for range 3 { // each time it is there again in between
		if d.believes(slot("a"), slot("")) || !d.believes(slot("a"), slot("a")) {
			t.Error("a token that is missing for a moment counts as gone")
		}
	}
}
