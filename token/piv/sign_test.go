package piv_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/pcsc/apdu"
	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/piv"
)

// response wraps a signature as GENERAL AUTHENTICATE answers it.
func response(signature []byte) []byte {
	return append(tlv(0x7C, tlv(0x82, signature)), 0x90, 0x00)
}

func keyIn(t *testing.T, slot string, public crypto.PublicKey) token.Key {
	t.Helper()
	key, err := token.NewKey(testCard, slot, slot, public, nil, token.PINNever)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func digest(a token.Algorithm) []byte { return bytes.Repeat([]byte{0xD1}, a.Hash.Size()) }

func TestSignAsksByGeneralAuthenticate(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsa2048, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rsa3072, err := rsa.GenerateKey(rand.Reader, 3072)
	if err != nil {
		t.Fatal(err)
	}
	ec := func(key *ecdsa.PrivateKey) func([]byte) ([]byte, error) {
		return func(block []byte) ([]byte, error) { return ecdsa.SignASN1(rand.Reader, key, block) }
	}
	anything := func(n int) func([]byte) ([]byte, error) {
		return func([]byte) ([]byte, error) { return bytes.Repeat([]byte{1}, n), nil }
	}
	p256 := newECDSA(t)
	tests := []struct {
		name      string
		slot      string
		public    crypto.PublicKey
		algorithm token.Algorithm
		sign      func(block []byte) ([]byte, error)
		p1, p2    byte
		block     int
	}{
		{"P-256 in 9a", "9a", &p256.PublicKey, token.ECDSASHA256, ec(p256), 0x11, 0x9A, 32},
		{"P-256 in 9e with SHA-512", "9e", &p256.PublicKey, token.ECDSASHA512, ec(p256), 0x11, 0x9E, 32},
		{"P-384 in 9c", "9c", &p384.PublicKey, token.ECDSASHA384, ec(p384), 0x14, 0x9C, 48},
		{"RSA-2048 in 9c", "9c", &rsa2048.PublicKey, token.RSAPSSSHA256, anything(256), 0x07, 0x9C, 256},
		{"RSA-3072 in 9c", "9c", &rsa3072.PublicKey, token.RSAPKCS1SHA512, anything(384), 0x05, 0x9C, 384},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			card := newCard(t)
			var asked apdu.Command
			card.sign = func(c apdu.Command) ([]byte, error) {
				asked = c
				block, err := apdu.Find(c.Data, 0x7C, 0x81)
				if err != nil {
					t.Fatalf("template without a challenge: %v", err)
				}
				if len(block) != tt.block {
					t.Errorf("block of %d bytes, want %d", len(block), tt.block)
				}
				signature, err := tt.sign(block)
				if err != nil {
					t.Fatal(err)
				}
				return response(signature), nil
			}
			tok := identified(t, card, piv.Options{Extended: true})
			signature, err := tok.Sign(t.Context(), keyIn(t, tt.slot, tt.public), tt.algorithm, digest(tt.algorithm))
			if err != nil {
				t.Fatalf("Sign: %v", err)
			}
			if asked.P1 != tt.p1 || asked.P2 != tt.p2 || asked.CLA != 0 {
				t.Errorf("command %02X 87 %02X %02X, want 00 87 %02X %02X", asked.CLA, asked.P1, asked.P2, tt.p1, tt.p2)
			}
			parts, err := apdu.ParseTLV(asked.Data)
			if err != nil || len(parts) != 1 {
				t.Fatalf("template %x: %v", asked.Data, err)
			}
			if !bytes.HasPrefix(parts[0].Value, []byte{0x82, 0x00, 0x81}) {
				t.Errorf("template begins %x, want an empty response and a challenge", parts[0].Value[:3])
			}
			if len(card.sent) != 1 {
				t.Errorf("signing took %d commands, want 1", len(card.sent))
			}
			if _, ok := tt.public.(*ecdsa.PublicKey); ok {
				if err := token.CheckSignature(tt.public, tt.algorithm, digest(tt.algorithm), signature); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestSignRefusesWhatCannotBeASignature(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey := newECDSA(t)
	ecSignature, err := ecdsa.SignASN1(rand.Reader, ecKey, digest(token.ECDSASHA256))
	if err != nil {
		t.Fatal(err)
	}
	order := tlv(0x02, append([]byte{0}, elliptic.P256().Params().N.Bytes()...))
	one := []byte{0x02, 0x01, 0x01}
	sequence := func(parts ...[]byte) []byte { return tlv(0x30, bytes.Join(parts, nil)) }
	tests := []struct {
		name   string
		public crypto.PublicKey
		answer []byte
	}{
		{"an RSA signature one byte short", &rsaKey.PublicKey, response(make([]byte, 255))},
		{"an RSA signature one byte long", &rsaKey.PublicKey, response(make([]byte, 257))},
		{"an empty RSA signature", &rsaKey.PublicKey, response(nil)},
		{"ECDSA as two bare numbers", &ecKey.PublicKey, response(make([]byte, 64))},
		{"an empty ECDSA signature", &ecKey.PublicKey, response(nil)},
		{"ECDSA with a byte behind", &ecKey.PublicKey, response(append(bytes.Clone(ecSignature), 0))},
		{"r of zero", &ecKey.PublicKey, response(sequence([]byte{0x02, 0x01, 0x00}, one))},
		{"a negative s", &ecKey.PublicKey, response(sequence(one, []byte{0x02, 0x01, 0xFF}))},
		{"s as large as the order", &ecKey.PublicKey, response(sequence(one, order))},
		{"one number only", &ecKey.PublicKey, response(sequence(one))},
		{"no template", &ecKey.PublicKey, append(bytes.Clone(ecSignature), 0x90, 0x00)},
		{"a template without a response", &ecKey.PublicKey, append(tlv(0x7C, tlv(0x81, ecSignature)), 0x90, 0x00)},
		{"nothing", &ecKey.PublicKey, sw(0x9000)},
		{"the PIN is wanted", &ecKey.PublicKey, sw(0x6982)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			card := newCard(t)
			card.sign = func(apdu.Command) ([]byte, error) { return tt.answer, nil }
			key := keyIn(t, "9c", tt.public)
			got, err := identified(t, card, piv.Options{Extended: true}).Sign(t.Context(), key, token.Algorithms(tt.public)[0], digest(token.ECDSASHA256))
			if got != nil || token.KindOf(err) != token.KindCardFault {
				t.Errorf("Sign = %x, %v, want %s", got, err, token.KindCardFault)
			}
			if len(card.sent) != 1 {
				t.Errorf("%d commands were sent, want 1", len(card.sent))
			}
		})
	}
}

func TestSignSendsNothingForWhatItCannotSign(t *testing.T) {
	ecKey := newECDSA(t)
	foreign, err := token.NewKey("piv-other", "9c", "", &ecKey.PublicKey, nil, token.PINAlways)
	if err != nil {
		t.Fatal(err)
	}
	rsa2560, err := rsa.GenerateKey(rand.Reader, 2560)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name      string
		key       token.Key
		algorithm token.Algorithm
		want      token.Kind
	}{
		{"a key of another card", foreign, token.ECDSASHA256, token.KindCardChanged},
		{"a key in a place that PIV does not have", keyIn(t, "82", &ecKey.PublicKey), token.ECDSASHA256, token.KindKeyNotFound},
		{"the key for encryption", keyIn(t, "9d", &ecKey.PublicKey), token.ECDSASHA256, token.KindKeyDecryptsOnly},
		{"an algorithm of other keys", keyIn(t, "9c", &ecKey.PublicKey), token.RSAPSSSHA256, token.KindAlgorithmMismatch},
		{"a size that PIV does not have", keyIn(t, "9c", &rsa2560.PublicKey), token.RSAPSSSHA256, token.KindAlgorithmMismatch},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			card := newCard(t)
			_, err := identified(t, card, piv.Options{}).Sign(t.Context(), tt.key, tt.algorithm, digest(token.ECDSASHA256))
			if token.KindOf(err) != tt.want || len(card.sent) != 0 {
				t.Errorf("Sign = %v with %d commands, want %s and none", err, len(card.sent), tt.want)
			}
		})
	}
}

func TestErrorsSayWhatHappenedToPeopleAndToTheLog(t *testing.T) {
	card := newCard(t)
	key := keyIn(t, "9c", &newECDSA(t).PublicKey)
	card.sign = func(apdu.Command) ([]byte, error) { return sw(0x6982), nil }
	tok := identified(t, card, piv.Options{})
	_, err := tok.Sign(t.Context(), key, token.ECDSASHA256, digest(token.ECDSASHA256))
	e, ok := errors.AsType[*token.Error](err)
	if !ok {
		t.Fatalf("Sign = %v, want a *token.Error", err)
	}
	want := map[string]string{"status_word": "6982", "detail": "signing, status word 6982", "detail_ja": "署名中、ステータスワード 6982"}
	if diff := cmp.Diff(want, e.Meta); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	if status, ok := errors.AsType[apdu.StatusError](err); !ok || status.SW != 0x6982 {
		t.Errorf("the cause of %v is not the status word", err)
	}
	card.sign = func(apdu.Command) ([]byte, error) { return nil, pcsc.ErrTimeout }
	_, err = tok.Sign(t.Context(), key, token.ECDSASHA256, digest(token.ECDSASHA256))
	if token.KindOf(err) != token.KindCardSilent || !errors.Is(err, pcsc.ErrTimeout) {
		t.Errorf("Sign = %v, want %s", err, token.KindCardSilent)
	}
	if got, want := err.Error(), "CARD_SILENT: signing: "+pcsc.ErrTimeout.Error(); got != want {
		t.Errorf("log text %q, want %q", got, want)
	}
}

// FuzzHostileCard lets a card answer anything to everything but VERIFY: no
// panic, and nothing that is not a key or signature gets through.
func FuzzHostileCard(f *testing.F) {
	key := newECDSA(f)
	f.Add(chuid(f), certObject(newCertificate(f, key, 0), 0), response(make([]byte, 64)))
	f.Add(sw(0x6100), sw(0x6C00), sw(0x9000))
	f.Add(object(tlv(0x34, nil)), certObject(gzipped(f, newCertificate(f, key, 0)), 1), response([]byte{0x30, 0x00}))
	f.Fuzz(func(t *testing.T, identity, certificate, signature []byte) {
		card := &fakeCard{
			objects: map[uint32][]byte{chuidObject: identity, object9A: certificate, object9E: certificate},
			sign:    func(apdu.Command) ([]byte, error) { return signature, nil },
		}
		tok := piv.Open(card, piv.Options{})
		if _, err := tok.Identify(t.Context()); err != nil {
			return
		}
		keys, err := tok.Keys(t.Context())
		if err != nil {
			return
		}
		for _, k := range keys {
			a := token.Algorithms(k.Public)[0]
			if s, err := tok.Sign(t.Context(), k, a, digest(a)); err == nil && len(s) == 0 {
				t.Error("an empty signature came through")
			}
		}
	})
}
