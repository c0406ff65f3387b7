package pivcard

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/inkan-project/inkan/pcsc/apdu"
)

// wire makes a card a transmitter.
type wire struct{ *Card }

func (w wire) Transmit(_ context.Context, command []byte) ([]byte, error) {
	return w.Card.Transmit(command), nil
}

func signCommand(slot Slot, keyType KeyType, input []byte) apdu.Command {
	template := apdu.AppendTLV(apdu.AppendTLV(nil, tagResponse, nil), tagChallenge, input)
	return apdu.Command{
		INS: insGeneralAuthenticate, P1: byte(keyType), P2: byte(slot),
		Data: apdu.AppendTLV(nil, tagTemplate, template), Ne: 65536,
	}
}

func sign(t *testing.T, c *Card, slot Slot, keyType KeyType, input []byte, extended bool) ([]byte, apdu.SW) {
	t.Helper()
	r, err := apdu.Exchange(t.Context(), wire{c}, signCommand(slot, keyType, input), apdu.Options{Extended: extended})
	if err != nil {
		t.Fatal(err)
	}
	if r.SW != apdu.SWOK {
		return nil, r.SW
	}
	signature, err := apdu.Find(r.Data, tagTemplate, tagResponse)
	if err != nil {
		t.Fatal(err)
	}
	return signature, r.SW
}

func public[K any](t *testing.T, c *Card, slot Slot) K {
	t.Helper()
	certificate, err := x509.ParseCertificate(c.Certificate(slot))
	if err != nil {
		t.Fatal(err)
	}
	key, ok := certificate.PublicKey.(K)
	if !ok {
		t.Fatalf("%s has a %T", slot, certificate.PublicKey)
	}
	return key
}

// pkcs1Block is EMSA-PKCS1-v1_5 for SHA-256 (RFC 8017 section 9.2).
func pkcs1Block(t *testing.T, digest []byte) []byte {
	info := append(unhex(t, "3031300d060960864801650304020105000420"), digest...)
	block := append([]byte{0, 1}, bytes.Repeat([]byte{0xFF}, 256-3-len(info))...)
	return append(append(block, 0), info...)
}

func TestDefaultCardSignsWithEachKeyInShortAndExtendedForm(t *testing.T) {
	c, err := Open(Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	wantSW(t, c, selectPIV, apdu.SWOK)
	digest := sha256.Sum256([]byte("文書"))
	var want []Signature
	for _, extended := range []bool{true, false} {
		t.Run(fmt.Sprintf("extended %v", extended), func(t *testing.T) {
			for _, slot := range []Slot{SlotAuthentication, SlotCardAuth} {
				wantSW(t, c, rightPIN, apdu.SWOK)
				signature, sw := sign(t, c, slot, P256, digest[:], extended)
				if !ecdsa.VerifyASN1(public[*ecdsa.PublicKey](t, c, slot), digest[:], signature) {
					t.Errorf("%s: signature %x, %s does not check", slot, signature, sw)
				}
				want = append(want, Signature{slot.String(), sha256Hex(digest[:]), sha256Hex(signature)})
			}
			wantSW(t, c, rightPIN, apdu.SWOK)
			block := pkcs1Block(t, digest[:])
			signature, sw := sign(t, c, SlotSignature, RSA2048, block, extended)
			if err := rsa.VerifyPKCS1v15(public[*rsa.PublicKey](t, c, SlotSignature), crypto.SHA256, digest[:], signature); err != nil {
				t.Errorf("9c: signature of %d bytes, %s: %v", len(signature), sw, err)
			}
			want = append(want, Signature{"9c", sha256Hex(block), sha256Hex(signature)})
		})
	}
	if diff := cmp.Diff(want, truth(t, c).Signatures); diff != "" {
		t.Errorf("truth differs: %s", diff)
	}
	t.Run("RSA input that is no block below the modulus is refused", func(t *testing.T) {
		for name, input := range map[string][]byte{
			"empty": {}, "short": make([]byte, 255), "long": make([]byte, 257), "too large": bytes.Repeat([]byte{0xFF}, 256),
		} {
			wantSW(t, c, rightPIN, apdu.SWOK)
			if _, sw := sign(t, c, SlotSignature, RSA2048, input, true); sw != apdu.SWWrongData {
				t.Errorf("%s: %s, want 6A80", name, sw)
			}
		}
	})
}

func TestECDSATakesTheLeftMostBytesOfAHash(t *testing.T) {
	c := newCard(t)
	digest := sha512.Sum512([]byte("文書"))
	signature, _ := sign(t, c, SlotCardAuth, P256, digest[:], true)
	if !ecdsa.VerifyASN1(public[*ecdsa.PublicKey](t, c, SlotCardAuth), digest[:32], signature) {
		t.Error("signature does not check with the first 32 bytes")
	}
	for _, length := range []int{0, 65} {
		if _, sw := sign(t, c, SlotCardAuth, P256, make([]byte, length), true); sw != apdu.SWWrongData {
			t.Errorf("%d bytes: %s, want 6A80", length, sw)
		}
	}
}

func TestKeysWantThePINAsTheirPolicySays(t *testing.T) {
	digest := make([]byte, 32)
	const once, always, never = SlotAuthentication, SlotSignature, SlotCardAuth
	tests := []struct {
		name   string
		before []string
		slot   Slot
		want   apdu.SW
	}{
		{"9E needs none", nil, never, apdu.SWOK},
		{"9A needs one", nil, once, apdu.SWSecurityStatus},
		{"9A has one", []string{rightPIN, queryPIN}, once, apdu.SWOK},
		{"9A lost it to a wrong one", []string{rightPIN, wrongPIN}, once, apdu.SWSecurityStatus},
		{"9A lost it by logging out", []string{rightPIN, "0020FF80"}, once, apdu.SWSecurityStatus},
		{"9A takes a changed one", []string{"00240080 10 313233343536FFFF" + newPIN}, once, apdu.SWOK},
		{"9C needs one", nil, always, apdu.SWSecurityStatus},
		{"9C has it immediately before", []string{rightPIN}, always, apdu.SWOK},
		{"9C had another command between", []string{rightPIN, selectPIV}, always, apdu.SWSecurityStatus},
		{"9C had a question between", []string{rightPIN, queryPIN}, always, apdu.SWSecurityStatus},
		{"9C had nonsense between", []string{rightPIN, "00"}, always, apdu.SWSecurityStatus},
		{"9C had part of another chain between", []string{rightPIN, "10CB3FFF 01 5C"}, always, apdu.SWSecurityStatus},
		{"9C had a wrong one before", []string{wrongPIN}, always, apdu.SWSecurityStatus},
		{"9C does not take a changed one", []string{"00240080 10 313233343536FFFF" + newPIN}, always, apdu.SWSecurityStatus},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newCard(t)
			for _, command := range test.before {
				send(t, c, command)
			}
			if _, sw := sign(t, c, test.slot, P256, digest, true); sw != test.want {
				t.Errorf("signing answered %s, want %s", sw, test.want)
			}
			if test.slot == always { // one VERIFY is one signature
				if _, sw := sign(t, c, always, P256, digest, true); sw != apdu.SWSecurityStatus {
					t.Errorf("second signature answered %s, want 6982", sw)
				}
			}
		})
	}
}

func TestAChainIsOneCommandForPINAlways(t *testing.T) {
	c := newCard(t)
	command := signCommand(SlotSignature, P256, make([]byte, 32)).Data
	part := func(cla byte, data []byte) string {
		return fmt.Sprintf("%02X87119C%02X%X", cla, len(data), data)
	}
	wantSWs(t, c, rightPIN, apdu.SWOK, part(0x10, command[:10]), apdu.SWOK, part(0x10, command[10:20]), apdu.SWOK)
	if r := send(t, c, part(0, command[20:])+"00"); r.SW != apdu.SWOK {
		t.Errorf("chain answered %s, want 9000", r.SW)
	}
	wantSWs(t, c, rightPIN, apdu.SWOK, part(0x10, command[:10]), apdu.SWOK,
		queryPIN, apdu.SWOK, // ends the chain
		part(0, command[10:]), apdu.SWSecurityStatus)
}

func TestTemplatesThatDoNotFitAreRefused(t *testing.T) {
	c := newCard(t)
	for command, want := range map[string]apdu.SW{
		"00871199 04 7C02 8200 00":          apdu.SWIncorrectP1P2, // no such key
		"0087079E 04 7C02 8200 00":          apdu.SWIncorrectP1P2, // other algorithm
		"0087119E 00":                       apdu.SWWrongData,     // no template
		"0087119E 04 7C02 8200 00":          apdu.SWWrongData,     // no challenge
		"0087119E 05 7C03 810101 00":        apdu.SWWrongData,     // no response asked for
		"0087119E 08 7C06 820101 810101 00": apdu.SWWrongData,     // response that is not empty
		"0087119E 03 7C0581 00":             apdu.SWWrongData,     // template that is cut
	} {
		wantSW(t, c, command, want)
	}
	if n := len(truth(t, c).Signatures); n != 0 {
		t.Errorf("%d signatures were made", n)
	}
}

func TestAChainThatNeverEndsIsRefused(t *testing.T) {
	c := newCard(t)
	part := fmt.Sprintf("1087119EFF%X", make([]byte, 255))
	for range maxChain / 255 {
		wantSW(t, c, part, apdu.SWOK)
	}
	wantSW(t, c, part, apdu.SWWrongLength)
}
