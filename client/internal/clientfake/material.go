package clientfake

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"math/big"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// What the fake card looks like.
const (
	CardID  = "piv-00112233445566778899aabbccddeeff"
	Serial  = "00112233445566778899aabbccddeeff"
	Company = "株式会社サンプル"
	Reader  = "Inkan Virtual Reader 00"
	Hint    = "仮想カード / virtual card: PIN 123456, unlock code 12345678"
)

// Key is one key of the fake card, with its private half.
type Key struct {
	Proto   *inkanpb.Key
	Private crypto.Signer
	DER     []byte
}

// keys makes the keys once for a process: RSA takes a while.
var keys = sync.OnceValues(makeKeys)

func makeKeys() ([]Key, error) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	var made []Key
	for _, plan := range []struct {
		slot, label, keyType string
		policy               inkanpb.PinPolicy
		private              crypto.Signer
		algorithms           []inkanpb.Algorithm
	}{
		{"9a", "PIV 9a PIV Authentication", "RSA-2048", inkanpb.PinPolicy_PIN_POLICY_ONCE, rsaKey, []inkanpb.Algorithm{
			inkanpb.Algorithm_ALGORITHM_RSA_PKCS1_SHA256, inkanpb.Algorithm_ALGORITHM_RSA_PKCS1_SHA384, inkanpb.Algorithm_ALGORITHM_RSA_PKCS1_SHA512,
			inkanpb.Algorithm_ALGORITHM_RSA_PSS_SHA256, inkanpb.Algorithm_ALGORITHM_RSA_PSS_SHA384, inkanpb.Algorithm_ALGORITHM_RSA_PSS_SHA512,
		}},
		{"9c", "PIV 9c Digital Signature", "P-256", inkanpb.PinPolicy_PIN_POLICY_ALWAYS, nil, ecdsaAlgorithms()},
		{"9e", "PIV 9e Card Authentication", "P-256", inkanpb.PinPolicy_PIN_POLICY_NEVER, nil, ecdsaAlgorithms()},
	} {
		if plan.private == nil {
			if plan.private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
				return nil, err
			}
		}
		key, err := certify(plan.private, plan.label)
		if err != nil {
			return nil, err
		}
		key.Proto.Slot, key.Proto.Label, key.Proto.Type = plan.slot, plan.label, plan.keyType
		key.Proto.PinPolicy, key.Proto.Algorithms = plan.policy, plan.algorithms
		made = append(made, key)
	}
	return made, nil
}

func ecdsaAlgorithms() []inkanpb.Algorithm {
	return []inkanpb.Algorithm{
		inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256, inkanpb.Algorithm_ALGORITHM_ECDSA_SHA384, inkanpb.Algorithm_ALGORITHM_ECDSA_SHA512,
	}
}

func certify(private crypto.Signer, label string) (Key, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(0x1A2B),
		Subject:      pkix.Name{Country: []string{"JP"}, Organization: []string{Company}, CommonName: "代表取締役 " + label},
		NotBefore:    time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(2028, 12, 31, 14, 59, 59, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return Key{}, fmt.Errorf("making certificate: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return Key{}, fmt.Errorf("reading certificate: %w", err)
	}
	sum := sha256.Sum256(certificate.RawSubjectPublicKeyInfo)
	return Key{Private: private, DER: der, Proto: &inkanpb.Key{
		Id:        CardID + "." + hex.EncodeToString(sum[:]),
		CardId:    CardID,
		PublicKey: certificate.RawSubjectPublicKeyInfo,
		Virtual:   true,
		Certificate: &inkanpb.Certificate{
			Subject: certificate.Subject.String(), Issuer: certificate.Issuer.String(),
			Company: Company, Holder: certificate.Subject.CommonName, Serial: "1A2B",
			NotBefore: timestamppb.New(certificate.NotBefore), NotAfter: timestamppb.New(certificate.NotAfter),
			State: inkanpb.CertificateState_CERTIFICATE_STATE_GOOD,
		},
	}}, nil
}
