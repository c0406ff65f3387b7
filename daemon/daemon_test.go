package daemon_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/daemon"
	"github.com/inkan-project/inkan/daemon/daemontest"
	"github.com/inkan-project/inkan/pcsc/virtual"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

const rightPIN = daemontest.PIN(pivcard.DemoPIN)

// request asks for a signature over a digest of the right length.
func request(key *inkanpb.Key, a inkanpb.Algorithm) client.SignRequest {
	h := client.AlgorithmHash(a).New()
	h.Write([]byte("document"))
	return client.SignRequest{KeyID: key.GetId(), Algorithm: a, Digest: h.Sum(nil), DocumentName: "入札書.pdf"}
}

func sign(c *client.Client, key *inkanpb.Key) (client.Signature, error) {
	return c.Sign(context.Background(), request(key, key.GetAlgorithms()[0]))
}

func TestOpenSSLAcceptsEveryKeyAndAlgorithm(t *testing.T) {
	for _, keyType := range []pivcard.KeyType{pivcard.RSA2048, pivcard.P256} {
		d := daemontest.Start(t, daemontest.Options{Keys: map[pivcard.Slot]pivcard.KeyType{
			pivcard.SlotAuthentication: keyType, pivcard.SlotSignature: keyType, pivcard.SlotCardAuth: keyType,
		}})
		c := d.Client(rightPIN)
		for _, slot := range []string{"9a", "9c", "9e"} {
			key := d.Key(slot)
			for _, a := range key.GetAlgorithms() {
				t.Run(fmt.Sprintf("%s %s %s", key.GetType(), slot, client.AlgorithmName(a)), func(t *testing.T) {
					sig, err := c.Sign(t.Context(), request(key, a))
					if err != nil {
						t.Fatalf("Sign: %v", err)
					}
					opensslVerify(t, c, key, a, sig.Bytes)
				})
			}
		}
	}
}

// opensslVerify lets openssl check a signature over "document" with the
// certificate that the daemon shows.
func opensslVerify(t *testing.T, c *client.Client, key *inkanpb.Key, a inkanpb.Algorithm, signature []byte) {
	t.Helper()
	cert, err := c.Certificate(t.Context(), key.GetId())
	if err != nil {
		t.Fatalf("Certificate: %v", err)
	}
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	der, doc, sig := write("cert.der", cert.GetDer()), write("doc", []byte("document")), write("sig", signature)
	pub := filepath.Join(dir, "pub.pem")
	openssl(t, "x509", "-inform", "DER", "-in", der, "-pubkey", "-noout", "-out", pub)
	hash := map[int]string{32: "-sha256", 48: "-sha384", 64: "-sha512"}[client.AlgorithmHash(a).Size()]
	args := []string{"dgst", hash, "-verify", pub, "-signature", sig}
	switch a {
	case inkanpb.Algorithm_ALGORITHM_RSA_PSS_SHA256, inkanpb.Algorithm_ALGORITHM_RSA_PSS_SHA384, inkanpb.Algorithm_ALGORITHM_RSA_PSS_SHA512:
		args = append(args, "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest")
	}
	if out := openssl(t, append(args, doc)...); out != "Verified OK\n" {
		t.Errorf("openssl says %q", out)
	}
}

func openssl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("openssl", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("openssl %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func TestTenDifferentWrongPINsLockAndAnEleventhNeverReachesTheCard(t *testing.T) {
	dir := t.TempDir()
	for i := range 10 { // a restart between all tries changes nothing
		d := daemontest.Start(t, daemontest.Options{Dir: dir})
		_, err := sign(d.Client(daemontest.PIN(fmt.Sprintf("99999%d", i))), d.Key("9a"))
		wrong, ok := errors.AsType[*client.Error](err)
		if !ok || !errors.Is(err, client.ErrPINWrong) || wrong.TriesLeft != 9-i {
			t.Fatalf("wrong PIN %d: %v, want PIN_WRONG with %d tries left", i+1, err, 9-i)
		}
		if got := d.Truth(); got.Verifies != i+1 || got.PINLeft != 9-i {
			t.Fatalf("after wrong PIN %d the card saw %d VERIFYs and has %d left", i+1, got.Verifies, got.PINLeft)
		}
		d.Stop()
	}
	d := daemontest.Start(t, daemontest.Options{Dir: dir})
	for _, pin := range []daemontest.PIN{rightPIN, "888888"} {
		if _, err := sign(d.Client(pin), d.Key("9a")); !errors.Is(err, client.ErrCardLocked) {
			t.Errorf("eleventh try: %v, want CARD_LOCKED", err)
		}
	}
	if got := d.Truth().Verifies; got != 10 {
		t.Errorf("the card saw %d VERIFYs, want 10", got)
	}
	st, err := d.Client(nil).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if card := st.GetCards()[0]; card.GetState() != inkanpb.CardState_CARD_STATE_LOCKED || card.GetPin().GetTriesLeft() != 0 {
		t.Errorf("status says %v", card)
	}
	if _, err := sign(d.Client(nil), d.Key("9e")); err != nil {
		t.Errorf("a key without a PIN on a locked card: %v", err)
	}
}

func TestARightPINGivesTheTriesBack(t *testing.T) {
	d := daemontest.Start(t, daemontest.Options{})
	wrong, key := d.Client(daemontest.WrongPINs()), d.Key("9a")
	for range 9 {
		if _, err := sign(wrong, key); !errors.Is(err, client.ErrPINWrong) {
			t.Fatal(err)
		}
	}
	pin, err := d.Client(rightPIN).VerifyPIN(t.Context(), d.Key("9a").GetCardId())
	if err != nil || pin.GetTriesLeft() != 10 || d.Truth().PINLeft != 10 {
		t.Errorf("tries %v, card has %d, error %v; want 10", pin, d.Truth().PINLeft, err)
	}
}

func TestEverySignatureIsInTheLogAndInTheCardsTruth(t *testing.T) {
	d := daemontest.Start(t, daemontest.Options{})
	c := d.Client(rightPIN)
	for _, slot := range []string{"9a", "9c", "9e"} {
		if _, err := sign(c, d.Key(slot)); err != nil {
			t.Fatalf("%s: %v", slot, err)
		}
	}
	if _, err := sign(d.Client(daemontest.PIN("111111")), d.Key("9a")); err == nil {
		t.Fatal("signed with a wrong PIN")
	}
	var intents, ok, failed int
	open := map[uint64]bool{}
	for rec, err := range c.Records(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		switch rec.GetKind() {
		case inkanpb.RecordKind_RECORD_KIND_INTENT:
			intents++
			open[rec.GetSequence()] = true
		case inkanpb.RecordKind_RECORD_KIND_RESULT:
			if !open[rec.GetIntent()] {
				t.Errorf("result %d without its intent %d before it", rec.GetSequence(), rec.GetIntent())
			}
			delete(open, rec.GetIntent())
			if rec.GetOutcome() == "OK" {
				ok++
			} else {
				failed++
			}
		}
	}
	if truth := d.Truth(); len(truth.Signatures) != 3 || ok != 3 || failed != 1 || intents != 4 || len(open) != 0 {
		t.Errorf("card made %d signatures; log has %d intents, %d OK, %d failed, %d open", len(truth.Signatures), intents, ok, failed, len(open))
	}
}

func TestMalformedPINsNeverReachTheCard(t *testing.T) {
	d := daemontest.Start(t, daemontest.Options{})
	key := d.Key("9a")
	pins := []daemontest.PIN{"", "１２３４５６", "12345\x00", "12345a", " 123456", "123456\n"}
	for length := 1; length <= 64; length++ {
		if length < 6 || length > 8 {
			pins = append(pins, daemontest.PIN(fmt.Sprintf("%0*d", length, 1)))
		}
	}
	for _, pin := range pins {
		c := d.Client(pin)
		_, err := sign(c, key)
		_ = c.Close()
		if !errors.Is(err, client.ErrPINMalformed) {
			t.Errorf("PIN of %d bytes: %v, want PIN_MALFORMED", len(pin), err)
		}
	}
	if truth := d.Truth(); truth.Verifies != 0 || truth.PINLeft != 10 {
		t.Errorf("the card saw %d VERIFYs and has %d tries left", truth.Verifies, truth.PINLeft)
	}
}

func TestBadRequestsSpendNothingAndSayWhy(t *testing.T) {
	d := daemontest.Start(t, daemontest.Options{})
	key := d.Key("9a")
	good := request(key, inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256)
	with := func(change func(*client.SignRequest)) client.SignRequest {
		r := good
		change(&r)
		return r
	}
	tests := map[string]struct {
		req  client.SignRequest
		want error
	}{
		"unknown key":             {with(func(r *client.SignRequest) { r.KeyID = "piv-none.00" }), client.ErrKeyNotFound},
		"no key":                  {with(func(r *client.SignRequest) { r.KeyID = "" }), client.ErrRequestInvalid},
		"digest too short":        {with(func(r *client.SignRequest) { r.Digest = r.Digest[:20] }), client.ErrDigestLength},
		"digest of another hash":  {with(func(r *client.SignRequest) { r.Digest = make([]byte, 48) }), client.ErrDigestLength},
		"the document, no digest": {with(func(r *client.SignRequest) { r.Digest = make([]byte, 4000) }), client.ErrRequestInvalid},
		"a large document":        {with(func(r *client.SignRequest) { r.Digest = make([]byte, 1<<20) }), client.ErrMessageTooLarge},
		"SHA-1":                   {with(func(r *client.SignRequest) { r.Algorithm = inkanpb.Algorithm_ALGORITHM_ECDSA_SHA1 }), client.ErrAlgorithmRefused},
		"MD5":                     {with(func(r *client.SignRequest) { r.Algorithm = inkanpb.Algorithm_ALGORITHM_RSA_PKCS1_MD5 }), client.ErrAlgorithmRefused},
		"RSA with a P-256 key":    {with(func(r *client.SignRequest) { r.Algorithm = inkanpb.Algorithm_ALGORITHM_RSA_PKCS1_SHA256 }), client.ErrAlgorithmMismatch},
		"no algorithm":            {with(func(r *client.SignRequest) { r.Algorithm = 0 }), client.ErrRequestInvalid},
	}
	c := d.Client(daemontest.PINFunc(func(context.Context, client.Prompt, []byte) (int, error) {
		t.Error("somebody was asked for the PIN")
		return 0, client.ErrCancel
	}))
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := c.Sign(t.Context(), tt.req); !errors.Is(err, tt.want) {
				t.Errorf("Sign: %v, want %v", err, tt.want)
			}
		})
	}
	if _, err := c.VerifyPIN(t.Context(), "piv-none"); !errors.Is(err, client.ErrCardNotFound) {
		t.Errorf("VerifyPIN of an unknown card: %v", err)
	}
	if truth := d.Truth(); truth.Verifies != 0 || len(truth.Signatures) != 0 {
		t.Errorf("the card saw %d VERIFYs and made %d signatures", truth.Verifies, len(truth.Signatures))
	}
}

func TestPromptsThatEndWithoutAPINSpendNothing(t *testing.T) {
	d := daemontest.Start(t, daemontest.Options{Config: func(c *daemon.Config) {
		if err := c.PIN.PromptTimeout.UnmarshalText([]byte("200ms")); err != nil {
			t.Fatal(err)
		}
	}})
	key := d.Key("9a")
	cancel := daemontest.PINFunc(func(context.Context, client.Prompt, []byte) (int, error) { return 0, client.ErrCancel })
	if _, err := sign(d.Client(cancel), key); !errors.Is(err, client.ErrPromptCancelled) {
		t.Errorf("cancelled: %v", err)
	}
	late := daemontest.PINFunc(func(ctx context.Context, _ client.Prompt, _ []byte) (int, error) {
		<-ctx.Done()
		return 0, client.ErrCancel
	})
	if _, err := sign(d.Client(late), key); !errors.Is(err, client.ErrPromptTimeout) {
		t.Errorf("timed out: %v", err)
	}
	if _, err := sign(d.Client(nil), key); !errors.Is(err, client.ErrNoPINAgent) {
		t.Errorf("no agent: %v", err)
	}
	if truth := d.Truth(); truth.Verifies != 0 {
		t.Errorf("the card saw %d VERIFYs", truth.Verifies)
	}
}

func TestRootMayNotSignWithoutVirtual(t *testing.T) {
	d := daemontest.Start(t, daemontest.Options{NotVirtual: true})
	c := d.Client(rightPIN)
	if _, err := c.Keys(t.Context()); !errors.Is(err, client.ErrCallerNotAllowed) {
		t.Errorf("Keys: %v, want CALLER_NOT_ALLOWED", err)
	}
	digest := sha256.Sum256(nil)
	_, err := c.Sign(t.Context(), client.SignRequest{KeyID: "piv-x.y", Algorithm: inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256, Digest: digest[:]})
	if !errors.Is(err, client.ErrCallerNotAllowed) {
		t.Errorf("Sign: %v, want CALLER_NOT_ALLOWED", err)
	}
	st, err := c.Status(t.Context())
	if err != nil || len(st.GetReaders()) != 1 || len(st.GetCards()) != 0 || st.GetReaders()[0].GetProblem() != "INK-2017" {
		t.Errorf("status %v, %v: want the reader alone, and the virtual card refused", st, err)
	}
	if n := d.Truth().Commands[0xCB]; n > 2 { // GET DATA (SP 800-73-5 part 2 section 3.1.2): the CHUID, once more with extended length
		t.Errorf("%d objects were read from a card that is refused", n)
	}
	steps, err := c.Diagnose(t.Context())
	if err != nil || len(steps) == 0 {
		t.Fatalf("Diagnose: %v, %v", steps, err)
	}
	var failed []*inkanpb.DiagnoseStep
	for _, step := range steps {
		if step.GetResult() == inkanpb.StepResult_STEP_RESULT_FAILED {
			failed = append(failed, step)
		}
	}
	if len(failed) != 1 || failed[0].GetCode() != "INK-2017" || !strings.Contains(failed[0].GetNextEn(), "allow_virtual") {
		t.Errorf("doctor finds %v, want INK-2017 and what to do", failed)
	}
}

func TestAHangingReaderDelaysNoOther(t *testing.T) {
	hang := make(chan struct{})
	d := daemontest.Start(t, daemontest.Options{Hooks: virtual.Options{
		Readers: []string{virtual.DefaultReader, "hanging"},
		Before: func(reader string, _ []byte) error {
			if reader == "hanging" {
				<-hang
			}
			return nil
		},
	}})
	defer close(hang)
	key := d.Key("9e")
	other, err := pivcard.Open(pivcard.Options{Dir: t.TempDir(), Keys: map[pivcard.Slot]pivcard.KeyType{pivcard.SlotCardAuth: pivcard.P256}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	if err := d.Reader.Insert("hanging", other); err != nil {
		t.Fatal(err)
	}
	c := d.Client(nil)
	// Waiting for the other reader would take five seconds.
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, err := c.Status(ctx); err != nil {
		t.Errorf("status: %v", err)
	}
	if _, err := c.Sign(ctx, request(key, key.GetAlgorithms()[0])); err != nil {
		t.Errorf("signing: %v", err)
	}
}

func TestAStopEndsThoseWhoWaitAtOnce(t *testing.T) {
	d := daemontest.Start(t, daemontest.Options{})
	key := d.Key("9a")
	asked := make(chan struct{})
	c := d.Client(daemontest.PINFunc(func(ctx context.Context, _ client.Prompt, _ []byte) (int, error) {
		close(asked)
		<-ctx.Done()
		return 0, client.ErrCancel
	}))
	watching := make(chan error, 1)
	first := make(chan struct{})
	go func() {
		for u, err := range d.Client(nil).Watch(context.Background()) {
			if err = errors.Join(err, u.Lost); err != nil {
				watching <- err
				return
			}
			select {
			case <-first:
			default:
				close(first)
			}
		}
	}()
	signing := make(chan error, 1)
	go func() { _, err := sign(c, key); signing <- err }()
	<-asked
	<-first
	d.Stop() // fails the test if it takes too long
	if err := <-signing; !errors.Is(err, client.ErrShuttingDown) {
		t.Errorf("who waited for a person got %v, want SHUTTING_DOWN", err)
	}
	if err := <-watching; !errors.Is(err, client.ErrShuttingDown) {
		t.Errorf("who watched got %v, want SHUTTING_DOWN", err)
	}
	if truth := d.Truth(); truth.Verifies != 0 {
		t.Errorf("the card saw %d VERIFYs", truth.Verifies)
	}
}
