package daemon_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/daemon/daemontest"
	"github.com/inkan-project/inkan/pcsc/virtual"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// manifest is a batch of n documents.
func manifest(key *inkanpb.Key, n int) client.BatchRequest {
	q := client.BatchRequest{KeyID: key.GetId(), Algorithm: key.GetAlgorithms()[0]}
	for i := range n {
		digest := sha256.Sum256(fmt.Appendf(nil, "document %d", i))
		q.Documents = append(q.Documents, client.Document{Digest: digest[:], Name: fmt.Sprintf("入札書-%d.pdf", i)})
	}
	return q
}

// collect takes a batch in; at, if set, is called after each signature.
func collect(ctx context.Context, c *client.Client, q client.BatchRequest, at func(int)) (got []client.BatchSignature, err error) {
	for s, e := range c.SignBatch(ctx, q) {
		if e != nil {
			return got, e
		}
		got = append(got, s)
		if at != nil {
			at(s.Index)
		}
	}
	return got, nil
}

// check checks signatures with the key.
func check(t *testing.T, key *inkanpb.Key, q client.BatchRequest, got []client.BatchSignature) {
	t.Helper()
	public, err := x509.ParsePKIXPublicKey(key.GetPublicKey())
	if err != nil {
		t.Fatal(err)
	}
	ec, ok := public.(*ecdsa.PublicKey)
	if !ok {
		t.Fatalf("key of type %T", public)
	}
	for i, s := range got {
		if s.Index != i || !ecdsa.VerifyASN1(ec, q.Documents[i].Digest, s.Bytes) {
			t.Errorf("signature %d has index %d, or does not fit its document", i, s.Index)
		}
	}
}

// recorded returns the documents whose signature is in the log as made, and
// checks that every intent has one result.
func recorded(t *testing.T, d *daemontest.Daemon) (done []string) {
	t.Helper()
	open := map[uint64]string{}
	for rec, err := range d.Client(nil).Records(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		switch rec.GetKind() {
		case inkanpb.RecordKind_RECORD_KIND_INTENT:
			open[rec.GetSequence()] = rec.GetDocumentName()
		case inkanpb.RecordKind_RECORD_KIND_RESULT:
			if open[rec.GetIntent()] != rec.GetDocumentName() {
				t.Errorf("record %d is the result of intent %d, which is not open", rec.GetSequence(), rec.GetIntent())
			}
			delete(open, rec.GetIntent())
			if rec.GetOutcome() == "OK" {
				done = append(done, rec.GetDocumentName())
			}
		}
	}
	if len(open) != 0 {
		t.Errorf("intents without a result: %v", open)
	}
	return done
}

// parts splits a batch as it should have ended.
func parts(all, done, unknown int) (d, u, n []int) {
	for i := range all {
		switch {
		case i < done:
			d = append(d, i)
		case i < done+unknown:
			u = append(u, i)
		default:
			n = append(n, i)
		}
	}
	return d, u, n
}

// ended checks the list of a batch that did not come to its end.
func ended(t *testing.T, err error, all, done, unknown int) {
	t.Helper()
	e, ok := errors.AsType[*client.BatchError](err)
	if !ok {
		t.Fatalf("%v (%T), want a BatchError", err, err)
	}
	d, u, n := parts(all, done, unknown)
	if !slices.Equal(e.Done, d) || !slices.Equal(e.Unknown, u) || !slices.Equal(e.NotDone, n) {
		t.Errorf("%v: done %v, unknown %v, not done %v; want %v, %v, %v", err, e.Done, e.Unknown, e.NotDone, d, u, n)
	}
}

func TestABatchIsSignedUnderOnePrompt(t *testing.T) {
	const n = 20
	for slot, verifies := range map[string]int{"9a": 1, "9c": n, "9e": 0} {
		t.Run(slot, func(t *testing.T) {
			d := daemontest.Start(t, daemontest.Options{})
			key := d.Key(slot)
			var shown []client.Prompt
			c := d.Client(daemontest.PINFunc(func(ctx context.Context, p client.Prompt, buf []byte) (int, error) {
				shown = append(shown, p)
				return rightPIN.PIN(ctx, p, buf)
			}))
			q := manifest(key, n)
			q.RequestID = "batch-1"
			got, err := collect(t.Context(), c, q, nil)
			if err != nil || len(got) != n {
				t.Fatalf("%d signatures, %v", len(got), err)
			}
			check(t, key, q, got)
			truth := d.Truth()
			if len(truth.Signatures) != n || truth.Verifies != verifies {
				t.Errorf("the card made %d signatures and saw %d PINs, want %d and %d", len(truth.Signatures), truth.Verifies, n, verifies)
			}
			if len(shown) != min(verifies, 1) {
				t.Fatalf("%d prompts", len(shown))
			}
			for _, p := range shown {
				if p.DocumentCount != n || len(p.DocumentNames) != 16 || p.DocumentNames[0] != "入札書-0.pdf" || p.Purpose != "sign" {
					t.Errorf("prompt %+v", p)
				}
			}
			if done := recorded(t, d); len(done) != n {
				t.Errorf("the log has %d", len(done))
			}
			again, err := collect(t.Context(), d.Client(nil), q, nil)
			if diff := cmp.Diff(got, again); diff != "" || err != nil {
				t.Errorf("again: %v (-first +again)\n%s", err, diff)
			}
			if now := d.Truth(); len(now.Signatures) != n || now.Verifies != verifies {
				t.Error("the repeat used the card")
			}
		})
	}
}

// interrupt starts a daemon that does something at the nth SIGN, before or
// after the card has it.
func interrupt(t *testing.T, dir string, nth int32, before bool, do func(*daemontest.Daemon) error) *daemontest.Daemon {
	t.Helper()
	var count atomic.Int32
	var d *daemontest.Daemon
	hook := func(command []byte) error {
		if !isSign(command) {
			return nil
		}
		switch n := count.Add(1); {
		case n == nth:
			return do(d)
		case n > nth:
			<-time.After(100 * time.Millisecond) // a card is slower than the news of a call's end
		}
		return nil
	}
	hooks := virtual.Options{After: func(_ string, command, _ []byte) error { return hook(command) }}
	if before {
		hooks = virtual.Options{Before: func(_ string, command []byte) error { return hook(command) }}
	}
	d = daemontest.Start(t, daemontest.Options{Dir: dir, Hooks: hooks})
	return d
}

func TestABatchEndsAtTheFirstFailure(t *testing.T) {
	const n, at = 10, 5
	for name, tt := range map[string]struct {
		before bool
		do     func(*testing.T, *daemontest.Daemon, context.CancelFunc) error
		want   error
		done   int
	}{
		"card stopped here": {false, func(t *testing.T, d *daemontest.Daemon, _ context.CancelFunc) error {
			c := d.Client(nil)
			go func() { // it waits for what is leaving
				cards, err := c.Cards(context.Background())
				if err == nil {
					_, err = c.StopHere(context.Background(), cards[0].GetId(), cards[0].GetSerial()[len(cards[0].GetSerial())-4:], "紛失")
				}
				if err != nil {
					t.Errorf("stopping the card: %v", err)
				}
			}()
			d.Await(func(s *inkanpb.Status) bool {
				return s.GetCards()[0].GetState() == inkanpb.CardState_CARD_STATE_STOPPED_HERE
			})
			return nil
		}, client.ErrCardStoppedHere, at - 1},
		"card pulled": {true, func(_ *testing.T, d *daemontest.Daemon, _ context.CancelFunc) error {
			return d.Reader.Remove(virtual.DefaultReader)
		}, client.ErrCardSilent, at - 1},
		"caller cancels": {true, func(_ *testing.T, _ *daemontest.Daemon, cancel context.CancelFunc) error {
			cancel()
			return nil
		}, client.ErrCallEnded, at + 1},
	} {
		for _, slot := range []string{"9a", "9c", "9e"} {
			t.Run(name+" "+slot, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				d := interrupt(t, t.TempDir(), at, tt.before, func(d *daemontest.Daemon) error { return tt.do(t, d, cancel) })
				key := d.Key(slot)
				q := manifest(key, n)
				got, err := collect(ctx, d.Client(rightPIN), q, nil)
				if !errors.Is(err, tt.want) {
					t.Errorf("%v, want %v", err, tt.want)
				}
				done := recorded(t, d)
				ended(t, err, n, len(done), 0)
				check(t, key, q, got)
				if len(got) != len(done) || len(done) > tt.done || len(done) < tt.done-1 {
					t.Errorf("%d signatures came, %d are in the log, want %d", len(got), len(done), tt.done)
				}
				if made := len(d.Truth().Signatures); made < len(got) || made > len(got)+2 {
					t.Errorf("the card made %d signatures, %d came", made, len(got))
				}
			})
		}
	}
}

func TestAWrongPINOfABatchSpendsOneTry(t *testing.T) {
	for _, slot := range []string{"9a", "9c"} {
		d := daemontest.Start(t, daemontest.Options{})
		got, err := collect(t.Context(), d.Client(daemontest.PIN("000000")), manifest(d.Key(slot), 5), nil)
		e, _ := errors.AsType[*client.Error](err)
		if len(got) != 0 || !errors.Is(err, client.ErrPINWrong) || e.TriesLeft != 9 {
			t.Errorf("%s: %d signatures, %v", slot, len(got), err)
		}
		ended(t, err, 5, 0, 0)
		if truth := d.Truth(); truth.Verifies != 1 || len(truth.Signatures) != 0 {
			t.Errorf("%s: the card saw %d PINs and made %d signatures", slot, truth.Verifies, len(truth.Signatures))
		}
		if done := recorded(t, d); len(done) != 0 {
			t.Errorf("%s: the log has %v", slot, done)
		}
	}
}
