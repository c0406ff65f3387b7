package messagetest_test

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/inkan-project/inkan/daemon/internal/messagetest"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

func TestEveryFieldCanBeSetAndTheSameInputMakesTheSame(t *testing.T) {
	make1 := func(b byte) *inkanpb.PinPrompt {
		m := &inkanpb.PinPrompt{}
		messagetest.Fill(m.ProtoReflect(), messagetest.NewSource(bytes.Repeat([]byte{b, b + 1, b + 2}, 500)), []string{"word"})
		return m
	}
	set := map[string]bool{}
	for b := range byte(255) {
		one := make1(b)
		if !proto.Equal(one, make1(b)) {
			t.Fatalf("input %d makes two messages", b)
		}
		fields := one.ProtoReflect().Descriptor().Fields()
		for i := range fields.Len() {
			if one.ProtoReflect().Has(fields.Get(i)) {
				set[string(fields.Get(i).Name())] = true
			}
		}
	}
	if want := (&inkanpb.PinPrompt{}).ProtoReflect().Descriptor().Fields().Len(); len(set) != want {
		t.Errorf("%d fields are ever set, want all %d", len(set), want)
	}
}
