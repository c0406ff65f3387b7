// Package p11test makes PKCS#11 tokens for tests: SoftHSM, and a module that
// lies.
//
// It guarantees that each token is in a directory of its test and goes with it.
// A caller needs softhsm2, opensc and a C compiler; without them a test fails.
package p11test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/inkan-project/inkan/token/p11"
)

// Secrets of the tokens.
const (
	PIN        = "738291"
	UnlockCode = "91827364"
	Label      = "株式会社サンプル"
)

// SoftHSMPath is Debian's library.
const SoftHSMPath = "/usr/lib/softhsm/libsofthsm2.so"

// SoftHSM makes a token with one key of each type, with certificates: CKA_ID 01
// is RSA-2048, 02 P-256, 03 P-384.
func SoftHSM(t testing.TB) *p11.Module {
	t.Helper()
	dir := t.TempDir()
	tokens := filepath.Join(dir, "tokens")
	conf := filepath.Join(dir, "softhsm2.conf")
	if err := os.Mkdir(tokens, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, conf, fmt.Appendf(nil, "directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", tokens))
	m := &p11.Module{
		Name: "softhsm", Path: SoftHSMPath, Own: true, Timeout: 30 * time.Second,
		Environment: []string{"SOFTHSM2_CONF=" + conf}, Writable: []string{tokens},
	}
	run(t, m, "softhsm2-util", "--init-token", "--free", "--label", Label, "--so-pin", UnlockCode, "--pin", PIN)
	for i, key := range Keys(t) {
		id := fmt.Sprintf("%02x", i+1)
		Import(t, m, id, id, key)
	}
	return m
}

// Keys makes one private key of each type that Inkan signs with, but the larger
// RSA ones.
func Keys(t testing.TB) []crypto.Signer {
	t.Helper()
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	all := []crypto.Signer{r}
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384()} {
		k, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, k)
	}
	return all
}

// Import puts a key into a token of SoftHSM with this CKA_ID, and a certificate
// for it with another one, which may be the same.
func Import(t testing.TB, m *p11.Module, id, certificateID string, key crypto.Signer) {
	t.Helper()
	dir := t.TempDir()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	private := filepath.Join(dir, "key.pem")
	write(t, private, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	run(t, m, "softhsm2-util", "--import", private, "--token", Label, "--label", "key "+id, "--id", id, "--pin", PIN)
	certificate := filepath.Join(dir, "certificate.der")
	write(t, certificate, Certificate(t, key))
	run(t, m, "pkcs11-tool", "--module", m.Path, "--token-label", Label, "--login", "--pin", PIN,
		"--write-object", certificate, "--type", "cert", "--id", certificateID, "--label", "certificate "+certificateID)
}

// Certificate makes a certificate that a key signs for itself.
func Certificate(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "署名用", Organization: []string{Label}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func write(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// run runs a program with the module's environment.
func run(t testing.TB, m *p11.Module, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...) //nolint:gosec // commands of this file
	cmd.Env = append(os.Environ(), m.Environment...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

// Copy makes a token of its own with the keys of another.
func Copy(t testing.TB, made *p11.Module) *p11.Module {
	t.Helper()
	dir := t.TempDir()
	tokens := filepath.Join(dir, "tokens")
	if err := os.CopyFS(tokens, os.DirFS(made.Writable[0])); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "softhsm2.conf")
	write(t, conf, fmt.Appendf(nil, "directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", tokens))
	m := *made
	m.Environment, m.Writable = []string{"SOFTHSM2_CONF=" + conf}, []string{tokens}
	return &m
}
