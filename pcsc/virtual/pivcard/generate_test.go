package pivcard

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"math/big"
	"testing"

	"github.com/inkan-project/inkan/pcsc/apdu"
)

func TestGeneratedKeysSign(t *testing.T) {
	c := newManaged(t)
	digest := sha512.Sum384([]byte("文書"))
	for keyType, curve := range map[KeyType]elliptic.Curve{P256: elliptic.P256(), P384: elliptic.P384()} {
		r := generateKey(t, c, SlotCardAuth, keyType)
		point, err := apdu.Find(r.Data, tagPublicKey, tagPoint)
		if err != nil {
			t.Fatalf("type %02X: %s, %v", byte(keyType), r.SW, err)
		}
		public, err := ecdsa.ParseUncompressedPublicKey(curve, point)
		if err != nil {
			t.Fatal(err)
		}
		signature, sw := sign(t, c, SlotCardAuth, keyType, digest[:], false)
		if !ecdsa.VerifyASN1(public, digest[:], signature) {
			t.Errorf("type %02X: signature %x, %s does not check", byte(keyType), signature, sw)
		}
	}
	r := generateKey(t, c, SlotSignature, RSA2048)
	modulus, _ := apdu.Find(r.Data, tagPublicKey, tagModulus)
	exponent, err := apdu.Find(r.Data, tagPublicKey, tagExponent)
	public := rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: int(new(big.Int).SetBytes(exponent).Int64())}
	if err != nil || public.N.BitLen() != 2048 || public.E != 65537 {
		t.Fatalf("RSA: %s, %v, modulus of %d bits", r.SW, err, public.N.BitLen())
	}
	_ = c.Close()
	again := open(t, c.options.Dir) // the key is durable
	wantSWs(t, again, selectPIV, apdu.SWOK, rightPIN, apdu.SWOK)
	want := append([]byte{0}, bytes.Repeat([]byte{3}, 255)...)
	signature, sw := sign(t, again, SlotSignature, RSA2048, want, false)
	got := new(big.Int).Exp(new(big.Int).SetBytes(signature), big.NewInt(65537), public.N).FillBytes(make([]byte, 256))
	if !bytes.Equal(got, want) {
		t.Errorf("RSA signature of %d bytes, %s is not of the generated key", len(signature), sw)
	}
}

func TestGenerateRefusesWhatItCannotKeep(t *testing.T) {
	c := newCard(t)
	if r := generateKey(t, c, SlotCardAuth, P256); r.SW != apdu.SWSecurityStatus {
		t.Errorf("without the management key: %s, want 6982", r.SW)
	}
	c = newManaged(t)
	before := truth(t, c).Changed
	wantSWs(t, c,
		"0047009B 05 AC03800111", apdu.SWIncorrectP1P2, // no slot
		"0047019A 05 AC03800111", apdu.SWIncorrectP1P2,
		"0047009A 05 AC03800106", apdu.SWWrongData, // RSA-1024
		"0047009A 08 AC06800111AA0102", apdu.SWWrongData, // PIN policy of YubiKeys
		"0047009A 03 800111", apdu.SWWrongData,
		"0047009A", apdu.SWWrongData)
	if got := truth(t, c).Changed; got != before {
		t.Errorf("%d changes on record for refused commands", got-before)
	}
}

func TestKeyManagementKeyAgreesAndDecrypts(t *testing.T) {
	for keyType, curve := range map[KeyType]ecdh.Curve{P256: ecdh.P256(), P384: ecdh.P384()} {
		c := newManaged(t)
		r := generateKey(t, c, SlotKeyManagement, keyType)
		point, _ := apdu.Find(r.Data, tagPublicKey, tagPoint)
		public, err := curve.NewPublicKey(point)
		if err != nil {
			t.Fatalf("%s: %v", r.SW, err)
		}
		other, err := curve.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		want, _ := other.ECDH(public)
		agreeing := apdu.Command{
			INS: insGeneralAuthenticate, P1: byte(keyType), P2: byte(SlotKeyManagement), Ne: 256,
			Data: template(tagResponse, nil, tagExponentiation, other.PublicKey().Bytes()),
		}
		if r := run(t, c, agreeing); r.SW != apdu.SWSecurityStatus {
			t.Errorf("without the PIN: %s, want 6982", r.SW)
		}
		wantSW(t, c, rightPIN, apdu.SWOK)
		r = run(t, c, agreeing)
		if got, _ := apdu.Find(r.Data, tagTemplate, tagResponse); !bytes.Equal(got, want) {
			t.Errorf("shared secret %x, %s, want %x", got, r.SW, want)
		}
		bad := agreeing
		bad.Data = template(tagResponse, nil, tagExponentiation, append([]byte{4}, make([]byte, len(point)-1)...))
		if r := run(t, c, bad); r.SW != apdu.SWWrongData {
			t.Errorf("a point that is not on the curve: %s, want 6A80", r.SW)
		}
		if _, sw := sign(t, c, SlotKeyManagement, keyType, make([]byte, 32), true); sw != apdu.SWWrongData {
			t.Errorf("9D signs: %s, want 6A80", sw)
		}
		if got := truth(t, c); got.Deciphers != 1 || len(got.Signatures) != 0 {
			t.Errorf("truth %+v, want one agreement and no signature", got)
		}
	}
	c := newManaged(t)
	generateKey(t, c, SlotKeyManagement, RSA2048)
	private, ok := c.key(SlotKeyManagement).private.(*rsa.PrivateKey)
	if !ok {
		t.Fatal("9D has no RSA key")
	}
	want := append([]byte{0, 2}, bytes.Repeat([]byte{5}, 254)...)
	encrypted := new(big.Int).Exp(new(big.Int).SetBytes(want), big.NewInt(int64(private.E)), private.N)
	wantSW(t, c, rightPIN, apdu.SWOK)
	got, sw := sign(t, c, SlotKeyManagement, RSA2048, encrypted.FillBytes(make([]byte, 256)), false)
	if !bytes.Equal(got, want) {
		t.Errorf("decrypted block %x, %s, want %x", got, sw, want)
	}
}
