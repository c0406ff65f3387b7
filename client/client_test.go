package client_test

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/client/internal/clientfake"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

func TestKeysFollowsPages(t *testing.T) {
	fake := startFake(t)
	keys, err := dial(t, fake, client.Options{}).Keys(t.Context())
	if err != nil || len(keys) != len(fake.Keys) {
		t.Fatalf("got %d keys, %v; want %d", len(keys), err, len(fake.Keys))
	}
	for i, k := range keys {
		if k.GetId() != fake.Keys[i].Proto.GetId() {
			t.Errorf("key %d is %s, want %s", i, k.GetId(), fake.Keys[i].Proto.GetId())
		}
	}
}

func TestEveryCallSaysTheLanguage(t *testing.T) {
	fake := startFake(t)
	t.Setenv("LC_ALL", "")
	t.Setenv("LC_MESSAGES", "ja_JP.UTF-8")
	t.Setenv("LANG", "en_US.UTF-8")
	c := dial(t, fake, client.Options{})
	if _, err := c.Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := fake.LastMetadata().Get("accept-language"); len(got) != 1 || got[0] != "ja" || c.Language() != "ja" {
		t.Errorf("got accept-language %q and %q, want ja from LC_MESSAGES", got, c.Language())
	}
}

func TestSocketsComeFromTheEnvironment(t *testing.T) {
	fake := startFake(t)
	t.Setenv("INKAN_SOCKET", fake.Socket) // pin.sock is next to it
	c, err := client.Dial(t.Context(), client.Options{PIN: digits(6)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := c.VerifyPIN(t.Context(), clientfake.CardID); err != nil || c.Socket() != fake.Socket {
		t.Errorf("got %v at %s, want success at %s", err, c.Socket(), fake.Socket)
	}
}

func TestSignReturnsSignatureAndRecord(t *testing.T) {
	fake := startFake(t)
	c := dial(t, fake, client.Options{PIN: digits(6)})
	digest := sha256.Sum256([]byte("入札書"))
	for i, key := range fake.Keys[1:] {
		public, ok := key.Private.Public().(*ecdsa.PublicKey)
		if !ok {
			t.Fatalf("key %s is a %T", key.Proto.GetSlot(), key.Private.Public())
		}
		got, err := c.Sign(t.Context(), client.SignRequest{
			KeyID: key.Proto.GetId(), Algorithm: inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256, Digest: digest[:], DocumentName: "入札書.pdf",
		})
		if err != nil || got.Record != uint64(i+1) {
			t.Fatalf("got record %d, %v; want %d", got.Record, err, i+1)
		}
		if !ecdsa.VerifyASN1(public, digest[:], got.Bytes) {
			t.Errorf("signature of %s does not verify", key.Proto.GetSlot())
		}
	}
	records, err := c.LastRecords(t.Context(), 1)
	if err != nil || len(records) != 1 || records[0].GetSequence() != 2 || records[0].GetDocumentName() != "入札書.pdf" {
		t.Errorf("got newest records %v, %v; want record 2 with its document", records, err)
	}
	if _, err := c.Sign(t.Context(), client.SignRequest{DocumentName: "\xff"}); !errors.Is(err, client.ErrRequestInvalid) {
		t.Errorf("got %v for a name that is not UTF-8, want ErrRequestInvalid", err)
	}
}

func TestRecordsFollowsPages(t *testing.T) {
	fake := startFake(t)
	c := dial(t, fake, client.Options{PIN: digits(6)})
	for range 5 {
		if _, err := c.VerifyPIN(t.Context(), clientfake.CardID); err != nil {
			t.Fatal(err)
		}
	}
	next := uint64(1)
	for r, err := range c.Records(t.Context()) {
		if err != nil || r.GetSequence() != next {
			t.Fatalf("got record %d, %v; want %d", r.GetSequence(), err, next)
		}
		next++
	}
	if next != 6 {
		t.Errorf("got %d records, want 5", next-1)
	}
}

func TestCertificateComesWithItsBytes(t *testing.T) {
	fake := startFake(t)
	c := dial(t, fake, client.Options{})
	got, err := c.Certificate(t.Context(), fake.Keys[0].Proto.GetId())
	if err != nil || string(got.GetDer()) != string(fake.Keys[0].DER) {
		t.Errorf("got %d bytes, %v; want the certificate", len(got.GetDer()), err)
	}
	if _, err := c.Certificate(t.Context(), "none"); !errors.Is(err, client.ErrKeyNotFound) {
		t.Errorf("got %v, want ErrKeyNotFound", err)
	}
}

func TestCallsWorkAgainSoonAfterInkandIsBack(t *testing.T) {
	dir, err := os.MkdirTemp("", "inkan")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	first, err := clientfake.Start(dir)
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, first, client.Options{})
	first.Stop()
	// Long enough for gRPC's own second pause, of 1.3 s and more, to begin.
	attempt := func(limit time.Duration) error {
		late := time.After(limit)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			_, err := c.Status(t.Context())
			if err == nil {
				return nil
			}
			select {
			case <-tick.C:
			case <-late:
				return err
			}
		}
	}
	if err := attempt(1300 * time.Millisecond); !errors.Is(err, client.ErrServiceUnreachable) {
		t.Fatalf("got %v without inkand, want ErrServiceUnreachable", err)
	}
	second, err := clientfake.Start(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.Stop)
	if err := attempt(700 * time.Millisecond); err != nil {
		t.Errorf("got %v after inkand is back, want success", err)
	}
}

func TestClosingAgainDoesNothing(t *testing.T) {
	c := dial(t, startFake(t), client.Options{PIN: digits(6)})
	for range 2 {
		if err := c.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	}
}

func TestDiagnoseReturnsTheSteps(t *testing.T) {
	fake := startFake(t)
	fake.Break(inkanpb.Reason_REASON_NO_CARD)
	steps, err := dial(t, fake, client.Options{}).Diagnose(t.Context())
	if err != nil || len(steps) != 10 || steps[3].GetCode() != "INK-2013" {
		t.Errorf("got %v, %v; want ten steps, the fourth INK-2013", steps, err)
	}
}

func TestACallAfterCloseSaysThatNothingWasSent(t *testing.T) {
	c := dial(t, startFake(t), client.Options{Language: "en"})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := c.Status(t.Context())
	for _, watched := range c.Watch(t.Context()) {
		err = errors.Join(err, watched)
	}
	if !errors.Is(err, client.ErrCallEnded) || !errors.Is(err, net.ErrClosed) || errors.Is(err, client.ErrServiceUnreachable) {
		t.Fatalf("got %v, want ErrCallEnded that is net.ErrClosed", err)
	}
	if text := err.Error(); strings.Count(text, "Nothing was sent.") != 2 || strings.Contains(text, "PIN") {
		t.Errorf("says %q", text)
	}
}
