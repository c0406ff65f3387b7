package pcscdtest_test

import (
	"errors"
	"testing"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/pcsc/pcsctest"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

func TestAStuckCardDelaysNoOther(t *testing.T) {
	b := newBenchIn(t, "10s", "Stuck", "Well") // time for ten signatures on a busy machine
	stuckReader, wellReader := b.pcscd.Reader("Stuck"), b.pcscd.Reader("Well")
	stuck, well := newCard(t, nil), newCard(t, nil)
	stuckReader.Insert(stuck)
	stuckKey := b.key(b.awaitCard(in(stuckReader)).GetId(), "9a")
	wellReader.Insert(well)
	wellKey := b.key(b.awaitCard(in(wellReader)).GetId(), "9a")
	one, other := b.Client(rightPIN), b.Client(rightPIN)

	for i, want := range map[int]error{verifyCommand: client.ErrPINNoVerdict, verifyCommand + 1: client.ErrCardSilent} {
		t.Run(commands[i], func(t *testing.T) {
			stalled, ended := make(chan struct{}), make(chan error, 1)
			stuckReader.Arrange(pcsctest.Fault{Skip: i, Stall: true, Meanwhile: func() { close(stalled) }})
			go func() {
				_, err := sign(t.Context(), one, stuckKey, inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256)
				ended <- err
			}()
			<-stalled
			for n := range 10 {
				if _, err := sign(t.Context(), other, wellKey, inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256); err != nil {
					t.Errorf("signature %d beside the stuck card: %v", n, err)
				}
			}
			select {
			case err := <-ended:
				t.Errorf("the stuck card was given up (%v) before the other had signed 10 times", err)
			default:
				if err := <-ended; !errors.Is(err, want) {
					t.Errorf("Sign with the stuck card: %v, want %v", err, want)
				}
			}
			b.neverMore(stuck, well)

			stuckReader.Remove()
			b.Await(func(s *inkanpb.Status) bool { return in(stuckReader)(s) == nil })
			stuckReader.Insert(stuck)
			b.awaitCard(in(stuckReader))
			if _, err := sign(t.Context(), one, stuckKey, inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256); err != nil {
				t.Errorf("Sign after it is back: %v", err)
			}
			b.awaitCard(full(stuckKey.GetCardId()))
		})
	}
	b.neverMore(stuck, well)
}
