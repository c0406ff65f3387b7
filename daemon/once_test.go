package daemon_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/daemon/daemontest"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// named is a request to sign that has a name.
func named(key *inkanpb.Key, id string) client.SignRequest {
	q := request(key, key.GetAlgorithms()[0])
	q.RequestID = id
	return q
}

func TestAskedTwiceItIsSignedOnce(t *testing.T) {
	dir := t.TempDir()
	d := daemontest.Start(t, daemontest.Options{Dir: dir})
	key := d.Key("9c")
	var wg sync.WaitGroup
	answers := make([]client.Signature, 6)
	for i := range answers {
		c := d.Client(rightPIN)
		wg.Go(func() {
			var err error
			if answers[i], err = c.Sign(context.Background(), named(key, "bid-1")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	d.Stop()
	d = daemontest.Start(t, daemontest.Options{Dir: dir})
	later, err := d.Client(nil).Sign(t.Context(), named(key, "bid-1"))
	if err != nil {
		t.Fatalf("after a restart, without anybody to ask: %v", err)
	}
	for _, a := range append(answers, later) {
		if !bytes.Equal(a.Bytes, answers[0].Bytes) || a.Record != answers[0].Record {
			t.Errorf("record %d with %x, want %d with %x", a.Record, a.Bytes, answers[0].Record, answers[0].Bytes)
		}
	}
	if got := d.Truth(); len(got.Signatures) != 1 || got.Verifies != 1 {
		t.Errorf("the card saw %d PINs and made %d signatures, want one", got.Verifies, len(got.Signatures))
	}
}

func TestAfterACrashARequestIsNeverDoneAgain(t *testing.T) {
	for name, tt := range map[string]struct {
		wanted func([]byte) bool
		before bool
		signed int
	}{
		"before VERIFY left the PC": {isVerify, true, 0},
		"after a right PIN":         {isVerify, false, 0},
		"after the card has signed": {isSign, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			dir := crashAt(t, rightPIN, tt.wanted, tt.before)
			for range 2 {
				d := daemontest.Start(t, daemontest.Options{Dir: dir})
				_, err := d.Client(rightPIN).Sign(t.Context(), named(d.Key("9a"), crashed))
				if !errors.Is(err, client.ErrOutcomeUnknown) {
					t.Errorf("the same request: %v, want ErrOutcomeUnknown", err)
				}
				if n := len(d.Truth().Signatures); n != tt.signed {
					t.Errorf("the card made %d signatures, want %d", n, tt.signed)
				}
				d.Stop()
			}
		})
	}
}
