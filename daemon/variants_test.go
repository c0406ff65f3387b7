package daemon_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/daemon"
	"github.com/inkan-project/inkan/daemon/daemontest"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

func TestEachKindOfCardSignsAndLocksAtItsLimit(t *testing.T) {
	for _, name := range pivcard.Variants() {
		wrongPINs, ok := daemontest.WrongPINsOf(name)
		if !ok {
			t.Errorf("variant %s has no card profile", name)
		}
		if !ok || name == "slow" { // as piv, but it takes its time
			continue
		}
		t.Run(name, func(t *testing.T) {
			d := startVariant(t, name, "")
			if _, err := sign(d.Client(rightPIN), d.Key("9a")); err != nil {
				t.Fatalf("signing: %v", err)
			}
			before := d.Truth()
			wrong, key := d.Client(daemontest.WrongPINs()), d.Key("9a")
			for i := range wrongPINs {
				_, err := sign(wrong, key)
				if !errors.Is(err, client.ErrPINWrong) && (i < wrongPINs-1 || !errors.Is(err, client.ErrCardLocked)) {
					t.Fatalf("wrong PIN %d: %v", i+1, err)
				}
				checkShown(t, d)
			}
			for range 3 {
				if _, err := sign(d.Client(rightPIN), key); !errors.Is(err, client.ErrCardLocked) {
					t.Errorf("after %d wrong PINs: %v, want CARD_LOCKED", wrongPINs, err)
				}
			}
			if got := d.Truth().Verifies - before.Verifies; got != wrongPINs {
				t.Errorf("the card saw %d wrong PINs, want %d", got, wrongPINs)
			}
		})
	}
}

func TestAnAnswerThatNoProfileKnowsIsNamedAndCountsAsATry(t *testing.T) {
	d := startVariant(t, "no-count", "limit = 10")
	for i := range 2 {
		_, err := sign(d.Client(daemontest.PIN(fmt.Sprintf("00000%d", i))), d.Key("9a"))
		e, ok := errors.AsType[*client.Error](err)
		if !ok || !errors.Is(err, client.ErrPINNoVerdict) || e.TriesLeft != 9-i {
			t.Fatalf("wrong PIN %d: %v, want PIN_NO_VERDICT with %d tries left", i+1, err, 9-i)
		}
		for _, lang := range []string{"en", "ja"} {
			if message, next := e.In(lang); !strings.Contains(message, "6982") || !strings.Contains(next, `words.wrong = ["6982"]`) {
				t.Errorf("in %s: %q, then %q: want the status word, and how a card profile teaches it", lang, message, next)
			}
		}
	}
	if got := d.Truth(); got.Verifies != 2 {
		t.Errorf("the card saw %d PINs, want 2", got.Verifies)
	}
}

// startVariant makes a card of a kind and its profile, and starts inkand. says
// is what the profile says of the kind, "" = what it should.
func startVariant(t *testing.T, name, says string) *daemontest.Daemon {
	t.Helper()
	behaviour, ok := pivcard.Variant(name)
	if !ok {
		t.Fatalf("no variant %s", name)
	}
	dir := t.TempDir()
	card, err := pivcard.Open(pivcard.Options{Dir: filepath.Join(dir, "card"), Behaviour: behaviour, Keys: map[pivcard.Slot]pivcard.KeyType{
		pivcard.SlotAuthentication: pivcard.P256, pivcard.SlotSignature: pivcard.P256, pivcard.SlotCardAuth: pivcard.P256,
	}})
	if err != nil {
		t.Fatal(err)
	}
	id := "piv-" + hex.EncodeToString(card.GUID())
	if err := card.Close(); err != nil {
		t.Fatal(err)
	}
	profiles := t.TempDir()
	if err := daemontest.WriteProfile(profiles, name, id, says); err != nil {
		t.Fatal(err)
	}
	return daemontest.Start(t, daemontest.Options{
		Dir: dir, Behaviour: behaviour, Config: func(c *daemon.Config) { c.Card.Profiles = profiles },
	})
}

// checkShown checks that no more tries are shown than the card has.
func checkShown(t *testing.T, d *daemontest.Daemon) {
	t.Helper()
	st, err := d.Client(nil).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if shown, has := int(st.GetCards()[0].GetPin().GetTriesLeft()), d.Truth().PINLeft; shown > has {
		t.Errorf("%d tries shown, the card has %d", shown, has)
	}
}

func TestAKeyForDecryptionIsListedAndAsksNobodyForAPIN(t *testing.T) {
	d := daemontest.Start(t, daemontest.Options{Keys: map[pivcard.Slot]pivcard.KeyType{pivcard.SlotKeyManagement: pivcard.P256}})
	key := d.Key("9d")
	if len(key.GetAlgorithms()) != 0 {
		t.Errorf("algorithms %v, want none", key.GetAlgorithms())
	}
	c := d.Client(daemontest.PINFunc(func(context.Context, client.Prompt, []byte) (int, error) {
		t.Error("somebody was asked for the PIN")
		return 0, client.ErrCancel
	}))
	if _, err := c.Sign(t.Context(), request(key, inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256)); !errors.Is(err, client.ErrKeyDecryptsOnly) {
		t.Errorf("Sign: %v, want KEY_DECRYPTS_ONLY", err)
	}
}
