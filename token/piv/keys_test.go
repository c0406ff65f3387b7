package piv_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/piv"
)

func certObject(der []byte, info ...byte) []byte {
	return object(tlv(0x70, der), tlv(0x71, info), tlv(0xFE, nil))
}

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestKeysComeWithSlotPolicyAndCertificate(t *testing.T) {
	card := newCard(t)
	ders := map[string][]byte{}
	for slot, tag := range map[string]uint32{"9a": object9A, "9c": object9C, "9d": object9D, "9e": object9E} {
		ders[slot] = newCertificate(t, newECDSA(t), 0)
		card.objects[tag] = certObject(ders[slot], 0)
	}
	keys, err := identified(t, card, piv.Options{}).Keys(t.Context())
	if err != nil {
		t.Fatalf("Keys: %v", err)
	}
	type row struct {
		Slot, Label string
		Policy      token.PINPolicy
	}
	var got []row
	for _, k := range keys {
		got = append(got, row{k.Slot, k.Label, k.PINPolicy})
		if !bytes.Equal(k.Certificate, ders[k.Slot]) {
			t.Errorf("key %s has not the certificate of its slot", k.Slot)
		}
		if k.Card != testCard || k.ID.Card() != testCard {
			t.Errorf("key %s is on card %s, identity %s", k.Slot, k.Card, k.ID)
		}
	}
	want := []row{
		{"9a", "PIV Authentication", token.PINOnce},
		{"9c", "Digital Signature", token.PINAlways},
		{"9d", "Key Management", token.PINOnce},
		{"9e", "Card Authentication", token.PINNever},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}

func TestCompressedCertificatesAreExpanded(t *testing.T) {
	der := newCertificate(t, newECDSA(t), 1000)
	for name, info := range map[string]byte{"as SP 800-73-5 has it": 0x01, "as old cards have it": 0x80} {
		card := newCard(t)
		card.objects[object9A] = certObject(gzipped(t, der), info)
		keys, err := identified(t, card, piv.Options{}).Keys(t.Context())
		if err != nil || len(keys) != 1 {
			t.Fatalf("%s: Keys = %d keys, %v, want 1", name, len(keys), err)
		}
		if !bytes.Equal(keys[0].Certificate, der) {
			t.Errorf("%s: the certificate is not the one that was compressed", name)
		}
	}
}

func TestOneBadCertificateDoesNotHideTheOtherKeys(t *testing.T) {
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	odd, err := rsa.GenerateKey(rand.Reader, 2560)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := newCertificate(t, newECDSA(t), 0)
	bomb := gzipped(t, make([]byte, 8<<20)) // about 8 KiB
	tests := []struct {
		name    string
		answer  []byte
		skipped bool // and the reason told
	}{
		{"no object", nil, false},
		{"an empty object", object(), false},
		{"an object without a certificate", object(tlv(0x71, []byte{0})), true},
		{"an empty certificate", certObject(nil, 0), true},
		{"bytes that are no certificate", certObject([]byte("certificate"), 0), true},
		{"a certificate with bytes behind it", certObject(append(bytes.Clone(good), 0), 0), true},
		{"half a certificate", certObject(good[:len(good)/2], 0), true},
		{"a certificate longer than 16 KiB", certObject(newCertificate(t, newECDSA(t), 17<<10), 0), true},
		{"a compressed one longer than 16 KiB", certObject(gzipped(t, newCertificate(t, newECDSA(t), 17<<10)), 1), true},
		{"8 MiB of zeros, compressed", certObject(bomb, 1), true},
		{"compressed and torn", certObject(gzipped(t, good)[:200], 1), true},
		{"not compressed but said to be", certObject(good, 1), true},
		{"compressed but not said to be", certObject(gzipped(t, good), 0), true},
		{"a length beyond the end", object([]byte{0x70, 0x82, 0xFF, 0xFF, 0x30}), true},
		{"no TLV at all", append(bytes.Repeat([]byte{0xFF}, 40), 0x90, 0x00), true},
		{"an RSA key of 1024 bits", certObject(newCertificate(t, weak, 0), 0), true},
		{"an RSA key of a length PIV does not know", certObject(newCertificate(t, odd, 0), 0), true},
		{"another curve", certObject(newCertificate(t, p224, 0), 0), true},
		{"Ed25519", certObject(newCertificate(t, ed, 0), 0), true},
		{"a refusal", sw(0x6982), true},
		{"a failure", sw(0x6F00), true},
		{"an answer that never ends", sw(0x6100), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			card := newCard(t)
			if tt.answer != nil {
				card.objects[object9A] = tt.answer
			}
			card.objects[object9E] = certObject(good, 0)
			endless := &endlessCard{fakeCard: card}
			var skipped []string
			tok := piv.Open(endless, piv.Options{Extended: true, Skipped: func(slot string, reason error) {
				if reason == nil {
					t.Error("no reason is told")
				}
				skipped = append(skipped, slot)
			}})
			if _, err := tok.Identify(t.Context()); err != nil {
				t.Fatalf("Identify: %v", err)
			}
			keys, err := tok.Keys(t.Context())
			if err != nil {
				t.Fatalf("Keys: %v", err)
			}
			if len(keys) != 1 || keys[0].Slot != "9e" {
				t.Errorf("Keys gives %d keys, want 9e alone", len(keys))
			}
			var want []string
			if tt.skipped {
				want = []string{"9a"}
			}
			if diff := cmp.Diff(want, skipped); diff != "" {
				t.Errorf("skipped (-want +got):\n%s", diff)
			}
		})
	}
}

// endlessCard answers each GET RESPONSE with more to come.
type endlessCard struct{ *fakeCard }

func (c *endlessCard) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if command[1] == 0xC0 {
		return append(make([]byte, 256), 0x61, 0x00), nil
	}
	return c.fakeCard.Transmit(ctx, command)
}

func TestKeysOfACardThatIsLostOrRefusesAreAnError(t *testing.T) {
	t.Run("removed on the way", func(t *testing.T) {
		card := newCard(t)
		tok := identified(t, card, piv.Options{})
		card.err = pcsc.ErrRemoved
		keys, err := tok.Keys(t.Context())
		if keys != nil || token.KindOf(err) != token.KindCardRemoved || !errors.Is(err, pcsc.ErrRemoved) {
			t.Errorf("Keys = %v, %v, want %s", keys, err, token.KindCardRemoved)
		}
		if len(card.sent) != 1 {
			t.Errorf("%d commands went to a card that is gone, want 1", len(card.sent))
		}
		card.err = nil
		if _, err := tok.Keys(t.Context()); err == nil {
			t.Error("Keys of a card that must be identified again gives no error")
		}
	})
	t.Run("every object refused", func(t *testing.T) {
		card := newCard(t)
		for _, tag := range []uint32{object9A, object9C, object9D, object9E} {
			card.objects[tag] = sw(0x6986) // selection lost
		}
		keys, err := identified(t, card, piv.Options{}).Keys(t.Context())
		if keys != nil || token.KindOf(err) != token.KindCardFault {
			t.Errorf("Keys = %v, %v, want %s", keys, err, token.KindCardFault)
		}
	})
	t.Run("an empty card", func(t *testing.T) {
		keys, err := identified(t, newCard(t), piv.Options{}).Keys(t.Context())
		if len(keys) != 0 || err != nil {
			t.Errorf("Keys = %v, %v, want none", keys, err)
		}
	})
}

func TestTheSameKeyTwiceIsShownOnce(t *testing.T) {
	card := newCard(t)
	key := newECDSA(t)
	card.objects[object9A] = certObject(newCertificate(t, key, 0), 0)
	card.objects[object9E] = certObject(newCertificate(t, key, 10), 0)
	var skipped []string
	keys, err := identified(t, card, piv.Options{Skipped: func(slot string, _ error) { skipped = append(skipped, slot) }}).Keys(t.Context())
	if err != nil || len(keys) != 1 || keys[0].Slot != "9a" {
		t.Errorf("Keys = %v, %v, want 9a alone", keys, err)
	}
	if diff := cmp.Diff([]string{"9e"}, skipped); diff != "" {
		t.Errorf("skipped (-want +got):\n%s", diff)
	}
}
