package client_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"testing"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/client/internal/clientfake"
)

func signerOf(t *testing.T, fake *clientfake.Server, slot int) *client.Signer {
	t.Helper()
	s, err := dial(t, fake, client.Options{PIN: digits(6)}).Signer(t.Context(), fake.Keys[slot].Proto.GetId())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSignerMakesCertificateRequests(t *testing.T) {
	fake := startFake(t)
	for _, tc := range []struct {
		name      string
		slot      int
		algorithm x509.SignatureAlgorithm
	}{
		{"RSA, the default", 0, 0},
		{"RSA PKCS1 SHA-384", 0, x509.SHA384WithRSA},
		{"RSA PKCS1 SHA-512", 0, x509.SHA512WithRSA},
		{"RSA PSS SHA-256", 0, x509.SHA256WithRSAPSS},
		{"RSA PSS SHA-384", 0, x509.SHA384WithRSAPSS},
		{"RSA PSS SHA-512", 0, x509.SHA512WithRSAPSS},
		{"ECDSA, the default", 1, 0},
		{"ECDSA SHA-384", 1, x509.ECDSAWithSHA384},
		{"ECDSA SHA-512, no PIN", 2, x509.ECDSAWithSHA512},
	} {
		t.Run(tc.name, func(t *testing.T) {
			der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
				Subject: pkix.Name{Organization: []string{clientfake.Company}}, SignatureAlgorithm: tc.algorithm,
			}, signerOf(t, fake, tc.slot))
			if err != nil {
				t.Fatal(err)
			}
			request, err := x509.ParseCertificateRequest(der)
			if err != nil {
				t.Fatal(err)
			}
			if err := request.CheckSignature(); err != nil {
				t.Errorf("checking the request's signature: %v", err)
			}
		})
	}
}

func TestSignerRefusesWhatInkanDoesNotSignWithoutAsking(t *testing.T) {
	fake := startFake(t)
	rsaSigner, ecSigner := signerOf(t, fake, 0), signerOf(t, fake, 1)
	before := fake.Calls()
	for _, tc := range []struct {
		name   string
		signer *client.Signer
		opts   crypto.SignerOpts
		want   error
		text   string
	}{
		{"SHA-1 with RSA", rsaSigner, crypto.SHA1, client.ErrAlgorithmRefused, "RSA-PKCS1-SHA1"},
		{"SHA-1 with ECDSA", ecSigner, crypto.SHA1, client.ErrAlgorithmRefused, "ECDSA-SHA1"},
		{"MD5 with RSA", rsaSigner, crypto.MD5, client.ErrAlgorithmRefused, "RSA-PKCS1-MD5"},
		{"MD5 with ECDSA", ecSigner, crypto.MD5, client.ErrAlgorithmRefused, "ECDSA-MD5"},
		{"TLS 1.1's MD5 and SHA-1", rsaSigner, crypto.MD5SHA1, client.ErrAlgorithmRefused, "MD5-SHA1"},
		{"SHA-1 with PSS", rsaSigner, &rsa.PSSOptions{Hash: crypto.SHA1}, client.ErrAlgorithmRefused, "RSA-PSS-SHA1"},
		{"SHA-224", rsaSigner, crypto.SHA224, client.ErrAlgorithmMismatch, "RSA-PKCS1-SHA224"},
		{"SHA3-256", ecSigner, crypto.SHA3_256, client.ErrAlgorithmMismatch, "P-256"},
		{"PSS with an EC key", ecSigner, &rsa.PSSOptions{Hash: crypto.SHA256}, client.ErrAlgorithmMismatch, "RSA-PSS-SHA256"},
		{"a short PSS salt", rsaSigner, &rsa.PSSOptions{Hash: crypto.SHA256, SaltLength: 8}, client.ErrRequestInvalid, "salt of 8 bytes"},
		{"no hash", ecSigner, crypto.Hash(0), client.ErrRequestInvalid, "never a document"},
		{"no options", ecSigner, nil, client.ErrRequestInvalid, "never a document"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := tc.signer.Sign(nil, make([]byte, 32), tc.opts)
			if !errors.Is(err, tc.want) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			if !contains(err.Error(), tc.text) {
				t.Errorf("got %q, want %q in it", err, tc.text)
			}
		})
	}
	if got := fake.Calls(); got != before {
		t.Errorf("%d calls reached inkand, want none", got-before)
	}
}

func TestSignerNamesItsDocumentAndPassesErrorsOn(t *testing.T) {
	fake := startFake(t)
	s := signerOf(t, fake, 1)
	digest := sha256.Sum256(nil)
	if _, err := s.ForDocument("納税.xml").SignContext(t.Context(), digest[:], crypto.SHA256); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sign(nil, digest[:31], crypto.SHA256); !errors.Is(err, client.ErrDigestLength) {
		t.Errorf("got %v for a short digest, want ErrDigestLength", err)
	}
	var named []string
	for r, err := range dial(t, fake, client.Options{}).Records(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		named = append(named, r.GetDocumentName())
	}
	if len(named) != 1 || named[0] != "納税.xml" {
		t.Errorf("got documents %q, want 納税.xml", named)
	}
	if _, err := dial(t, fake, client.Options{}).Signer(t.Context(), "none"); !errors.Is(err, client.ErrKeyNotFound) {
		t.Errorf("got %v for an unknown key, want ErrKeyNotFound", err)
	}
}
