package pcscdtest_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// copyOf makes a card with the same identity, keys and secrets.
func copyOf(t *testing.T, c card) card {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(dir, os.DirFS(c.dir)); err != nil {
		t.Fatal(err)
	}
	twin, err := pivcard.Open(pivcard.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = twin.Close() })
	return card{twin, dir}
}

// bothShow says that two readers show that their cards claim one identity.
func bothShow(s *inkanpb.Status) bool {
	n := 0
	for _, r := range s.GetReaders() {
		if r.GetProblem() == "INK-2016" {
			n++
		}
	}
	return n == 2
}

func TestACopyInAnotherReaderStopsBothUntilOneIsOut(t *testing.T) {
	b := newBench(t, "First", "Second")
	first, second := b.pcscd.Reader("First"), b.pcscd.Reader("Second")
	original := newCard(t, nil)
	twin := copyOf(t, original)
	first.Insert(original)
	id := b.awaitCard(in(first)).GetId()
	key, c := b.key(id, "9a"), b.Client(rightPIN)
	second.Insert(twin)
	if s := b.Await(bothShow); len(s.GetCards()) != 1 || s.GetService().GetMissing() != inkanpb.Layer_LAYER_CARD {
		t.Errorf("status %v, want one card, and that a card to be used is missing", s)
	}
	keys, err := c.Keys(t.Context())
	if err != nil || len(keys) != 3 {
		t.Errorf("%d keys, %v; want each once", len(keys), err)
	}
	_, err = sign(t.Context(), c, key, inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256)
	e, ok := errors.AsType[*client.Error](err)
	if !ok || !errors.Is(err, client.ErrCardDuplicate) {
		t.Fatalf("Sign: %v, want CARD_DUPLICATE", err)
	}
	for _, lang := range []string{"en", "ja"} {
		if message, _ := e.In(lang); !strings.Contains(message, first.Name) || !strings.Contains(message, second.Name) {
			t.Errorf("in %s: %q does not name both readers", lang, message)
		}
	}
	if _, err := c.VerifyPIN(t.Context(), id); !errors.Is(err, client.ErrCardDuplicate) {
		t.Errorf("VerifyPIN: %v, want CARD_DUPLICATE", err)
	}
	if n := original.truth(t).Verifies + twin.truth(t).Verifies; n != 0 {
		t.Errorf("the cards saw %d PINs, want none", n)
	}
	first.Remove()
	b.Await(func(s *inkanpb.Status) bool { return in(first)(s) == nil && in(second)(s) != nil && !bothShow(s) })
	if _, err := sign(t.Context(), c, key, inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256); err != nil {
		t.Errorf("Sign with the one that is left: %v", err)
	}
	b.neverMore(original, twin)
}
