package pcscdtest_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/inkan-project/inkan/client"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// hangs is how long a call may take before the test calls it hung.
const hangs = 30 * time.Second

func TestPCSCDMayBeRestartedAgainAndAgainWhileProgramsSign(t *testing.T) {
	b := newBench(t)
	c, reader := newCard(t, nil), b.pcscd.Reader("Inkan Test")
	reader.Insert(c)
	key := b.key(b.awaitCard(in(reader)).GetId(), "9a")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	signed := make(chan struct{})
	clients, under := make([]*client.Client, 4), sync.WaitGroup{}
	for i := range clients {
		clients[i] = b.Client(rightPIN)
		under.Go(func() { signOn(ctx, t, clients[i], key, signed) })
	}
	for range 20 {
		receive(t, signed) // so it works, and others are on their way
		b.pcscd.Kill()
		b.Await(func(s *inkanpb.Status) bool { return s.GetService().GetMissing() == inkanpb.Layer_LAYER_PCSCD })
		b.neverMore(c)
		b.pcscd.Restart()
	}
	within, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	receive(t, signed)
	stop()
	under.Wait()
	for i, cl := range clients {
		if _, err := sign(within, cl, key, inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256); err != nil {
			t.Errorf("program %d after the last restart: %v", i, err)
		}
	}
	b.neverMore(c)
}

// signOn signs until ctx ends. While there is no card it waits for one.
func signOn(ctx context.Context, t *testing.T, c *client.Client, key *inkanpb.Key, signed chan<- struct{}) {
	for ctx.Err() == nil {
		call, cancel := context.WithTimeout(t.Context(), hangs)
		_, err := sign(call, c, key, inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256)
		cancel()
		if errors.Is(err, client.ErrPINWrong) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Sign with the right PIN: %v", err)
			return
		}
		if err == nil {
			select {
			case signed <- struct{}{}:
			case <-ctx.Done():
			}
			continue
		}
		for u, err := range c.Watch(ctx) {
			if err != nil || len(u.Status.GetCards()) > 0 {
				break
			}
		}
	}
}

// receive waits for a signature, but not for ever.
func receive(t *testing.T, signed <-chan struct{}) {
	t.Helper()
	select {
	case <-signed:
	case <-time.After(hangs):
		t.Fatal("no program signs any more")
	}
}
