package pcscdtest_test

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/daemon/daemontest"
	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

func TestEachKeyTypeSignsBehindPCSCDAndOpenSSLAgrees(t *testing.T) {
	b := newBench(t)
	c := newCard(t, map[pivcard.Slot]pivcard.KeyType{
		pivcard.SlotAuthentication: pivcard.RSA2048, pivcard.SlotSignature: pivcard.P384, pivcard.SlotCardAuth: pivcard.P256,
	})
	b.pcscd.Reader("Inkan Test").Insert(c)
	id := b.cards(1)[0].GetId()
	cl := b.Client(rightPIN)
	for _, slot := range []string{"9a", "9c", "9e"} {
		key := b.key(id, slot)
		for _, a := range key.GetAlgorithms() {
			t.Run(fmt.Sprintf("%s %s", slot, client.AlgorithmName(a)), func(t *testing.T) {
				sig, err := sign(t.Context(), cl, key, a)
				if err != nil {
					t.Fatalf("Sign: %v", err)
				}
				opensslVerify(t, cl, key, a, sig.Bytes)
			})
		}
	}
	b.neverMore(c)
}

func opensslVerify(t *testing.T, c *client.Client, key *inkanpb.Key, a inkanpb.Algorithm, signature []byte) {
	t.Helper()
	cert, err := c.Certificate(t.Context(), key.GetId())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	der, doc, sig := write(t, dir, "cert.der", cert.GetDer()), write(t, dir, "doc", []byte("document")), write(t, dir, "sig", signature)
	pub := filepath.Join(dir, "pub.pem")
	run(t, "openssl", "x509", "-inform", "DER", "-in", der, "-pubkey", "-noout", "-out", pub)
	hash := map[int]string{32: "-sha256", 48: "-sha384", 64: "-sha512"}[client.AlgorithmHash(a).Size()]
	args := []string{"dgst", hash, "-verify", pub, "-signature", sig}
	if strings.Contains(client.AlgorithmName(a), "PSS") {
		args = append(args, "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest")
	}
	if out := run(t, "openssl", append(args, doc)...); out != "Verified OK\n" {
		t.Errorf("openssl says %q", out)
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func TestTwoCardsInTwoReadersKeepTheirOwnTries(t *testing.T) {
	b := newBench(t, "Left", "Right")
	left, right := newCard(t, nil), newCard(t, nil)
	b.pcscd.Reader("Left").Insert(left)
	leftID := b.cards(1)[0].GetId()
	b.pcscd.Reader("Right").Insert(right)
	b.cards(2)
	wrong := b.Client(daemontest.WrongPINs())
	for range 2 {
		if _, err := wrong.VerifyPIN(t.Context(), leftID); !errors.Is(err, client.ErrPINWrong) {
			t.Fatal(err)
		}
	}
	// The tries follow the card into the other reader.
	b.pcscd.Reader("Left").Remove()
	b.pcscd.Reader("Right").Remove()
	b.cards(0)
	b.pcscd.Reader("Right").Insert(left)
	b.pcscd.Reader("Left").Insert(right)
	for _, c := range b.cards(2) {
		want := uint32(10)
		if c.GetId() == leftID {
			want = 8
		}
		if got := c.GetPin().GetTriesLeft(); got != want {
			t.Errorf("card %s in %s: %d tries left, want %d", c.GetId(), c.GetReader(), got, want)
		}
	}
	if l, r := left.truth(t), right.truth(t); l.Verifies != 2 || r.Verifies != 0 {
		t.Errorf("VERIFYs: %d and %d, want 2 and 0", l.Verifies, r.Verifies)
	}
}

func TestAnotherProgramThatHoldsTheCardIsNamedUntilItLetsGo(t *testing.T) {
	b := newBench(t)
	c := newCard(t, nil)
	// opensc-tool as the other program would be gone too soon: we hold the card
	// by PC/SC ourselves before inkand sees it.
	other := pcsc.NewService(pcsc.Config{})
	t.Cleanup(func() { _ = other.Close() })
	reader := b.pcscd.Reader("Inkan Test")
	reader.Insert(c)
	id := b.cards(1)[0].GetId()
	var hold pcsc.Card
	for hold == nil { // until inkand's idle time is over
		conn, err := other.Connect(t.Context(), reader.Name)
		if err == nil {
			hold = conn
		} else if !errors.Is(err, pcsc.ErrSharing) {
			t.Fatal(err)
		}
	}
	_, err := sign(t.Context(), b.Client(nil), b.key(id, "9e"), inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256)
	if !errors.Is(err, client.ErrReaderInUse) {
		t.Errorf("Sign while another program has the card: %v, want READER_IN_USE", err)
	}
	if err := hold.Disconnect(pcsc.Reset); err != nil {
		t.Fatal(err)
	}
	if _, err := sign(t.Context(), b.Client(nil), b.key(id, "9e"), inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256); err != nil {
		t.Errorf("Sign after it let go: %v", err)
	}
}
