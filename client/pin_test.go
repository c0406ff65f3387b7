package client_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/client/internal/clientfake"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

func contains(s, part string) bool { return strings.Contains(s, part) }

func TestAPINIsAskedWithEverythingThePersonShouldSee(t *testing.T) {
	fake := startFake(t)
	var got client.Prompt
	c := dial(t, fake, client.Options{PIN: sourceFunc(func(ctx context.Context, p client.Prompt, buf []byte) (int, error) {
		got = p
		if _, ok := ctx.Deadline(); !ok || len(buf) != client.MaxPINLength || cap(buf) != len(buf) {
			t.Errorf("got a buffer of %d/%d bytes and deadline %v, want 64/64 and one", len(buf), cap(buf), ok)
		}
		return copy(buf, []byte{'1', '2', '3', '4', '5', '6'}), nil
	})})
	digest := sha256.Sum256(nil)
	key := fake.Keys[1].Proto
	if _, err := c.Sign(t.Context(), client.SignRequest{
		KeyID: key.GetId(), Algorithm: inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256, Digest: digest[:], DocumentName: "入札書.pdf",
	}); err != nil {
		t.Fatal(err)
	}
	if got.Company != clientfake.Company || got.CardID != clientfake.CardID || got.Purpose != "sign" || got.KeyLabel != key.GetLabel() ||
		len(got.DocumentNames) != 1 || got.DocumentNames[0] != "入札書.pdf" || got.Tries != (client.Tries{Left: 10, Known: true, Confirmed: true}) ||
		got.Program != "/usr/bin/inkan" || got.PID != 4242 || !got.Virtual || got.MinLength != 6 || got.MaxLength != 8 {
		t.Errorf("got prompt %+v", got)
	}
}

func TestUnknownTriesStayUnknown(t *testing.T) {
	fake := startFake(t)
	fake.ChangePrompts(func(p *inkanpb.PinPrompt) { p.TriesLeft = nil })
	var got client.Tries
	c := dial(t, fake, client.Options{PIN: sourceFunc(func(_ context.Context, p client.Prompt, _ []byte) (int, error) {
		got = p.Tries
		return 0, client.ErrCancel
	})})
	if _, err := c.VerifyPIN(t.Context(), clientfake.CardID); !errors.Is(err, client.ErrPromptCancelled) || got != (client.Tries{}) {
		t.Errorf("got %v and %+v, want ErrPromptCancelled and unknown tries", err, got)
	}
}

func TestAWrongPINSaysTheTriesLeft(t *testing.T) {
	fake := startFake(t)
	c := dial(t, fake, client.Options{PIN: digits(8)})
	for want := 9; want > 0; want-- {
		_, err := c.VerifyPIN(t.Context(), clientfake.CardID)
		e, ok := errors.AsType[*client.Error](err)
		if !ok || !errors.Is(err, client.ErrPINWrong) || !e.TriesKnown || e.TriesLeft != want {
			t.Fatalf("got %v, want ErrPINWrong with %d tries left", err, want)
		}
	}
	if _, err := c.VerifyPIN(t.Context(), clientfake.CardID); !errors.Is(err, client.ErrCardLocked) {
		t.Errorf("got %v, want ErrCardLocked", err)
	}
}

func TestEveryCallIsSentOnce(t *testing.T) {
	fake := startFake(t)
	c := dial(t, fake, client.Options{PIN: digits(8)})
	before := fake.Calls()
	_, _ = c.VerifyPIN(t.Context(), clientfake.CardID)
	if got := fake.Calls() - before; got != 1 || fake.Tries() != 9 {
		t.Errorf("%d calls and %d tries left after a wrong PIN, want 1 and 9", got, fake.Tries())
	}
}

func TestWithoutAPINSocketKeysWithoutPINStillSign(t *testing.T) {
	fake := startFake(t)
	fake.StopAgents()
	c := dial(t, fake, client.Options{PIN: digits(6)})
	digest := sha256.Sum256(nil)
	sign := func(key clientfake.Key) error {
		_, err := c.Sign(t.Context(), client.SignRequest{
			KeyID: key.Proto.GetId(), Algorithm: inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256, Digest: digest[:],
		})
		return err
	}
	if err := sign(fake.Keys[2]); err != nil {
		t.Errorf("signing without PIN: %v", err)
	}
	if err := sign(fake.Keys[1]); !errors.Is(err, client.ErrNoPINAgent) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want ErrNoPINAgent because of the missing socket", err)
	}
}

func TestOnlyPINCallsNameTheAgent(t *testing.T) {
	fake := startFake(t)
	c := dial(t, fake, client.Options{PIN: digits(6)})
	if _, err := c.Keys(t.Context()); err != nil || fake.LastMetadata().Get("inkan-agent") != nil {
		t.Errorf("Keys: %v, metadata %v; want no agent", err, fake.LastMetadata())
	}
	if _, err := c.VerifyPIN(t.Context(), clientfake.CardID); err != nil || len(fake.LastMetadata().Get("inkan-agent")) != 1 {
		t.Errorf("VerifyPIN: %v, metadata %v; want one agent", err, fake.LastMetadata())
	}
	if _, err := dial(t, fake, client.Options{}).VerifyPIN(t.Context(), clientfake.CardID); !errors.Is(err, client.ErrNoPINAgent) {
		t.Errorf("got %v without a source, want ErrNoPINAgent", err)
	}
}

func TestAFailingSourceSpendsNothingAndIsTheCause(t *testing.T) {
	fake := startFake(t)
	broken := errors.New("keyboard on fire")
	for _, tc := range []struct {
		name  string
		n     int
		err   error
		cause error
	}{
		{"the person says no", 0, client.ErrCancel, client.ErrPromptCancelled},
		{"the source fails", 0, broken, broken},
		{"the source gives too much", 65, nil, client.ErrPromptCancelled},
		{"the source gives a negative length", -1, nil, client.ErrPromptCancelled},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := dial(t, fake, client.Options{PIN: sourceFunc(func(context.Context, client.Prompt, []byte) (int, error) { return tc.n, tc.err })})
			_, err := c.VerifyPIN(t.Context(), clientfake.CardID)
			if !errors.Is(err, client.ErrPromptCancelled) || !errors.Is(err, tc.cause) || fake.Tries() != 10 {
				t.Errorf("got %v with %d tries, want ErrPromptCancelled because of %v with 10", err, fake.Tries(), tc.cause)
			}
		})
	}
}

func TestAnEmptyPINIsInkandsToRefuse(t *testing.T) {
	fake := startFake(t)
	if _, err := dial(t, fake, client.Options{PIN: digits(0)}).VerifyPIN(t.Context(), clientfake.CardID); !errors.Is(err, client.ErrPINMalformed) {
		t.Errorf("got %v, want ErrPINMalformed", err)
	}
}

// waiting is a source that tells when it was asked and waits for its context.
func waiting(asked chan<- struct{}) client.PINSource {
	return sourceFunc(func(ctx context.Context, _ client.Prompt, _ []byte) (int, error) {
		asked <- struct{}{}
		<-ctx.Done()
		return 0, ctx.Err()
	})
}

func TestAPromptEndsWithItsTimeItsCancelOrItsClient(t *testing.T) {
	t.Run("inkand cancels it", func(t *testing.T) {
		fake, asked := startFake(t), make(chan struct{}, 1)
		c := dial(t, fake, client.Options{PIN: waiting(asked)})
		go func() { <-asked; fake.CancelPrompts() }()
		if _, err := c.VerifyPIN(t.Context(), clientfake.CardID); !errors.Is(err, client.ErrPromptCancelled) {
			t.Errorf("got %v, want ErrPromptCancelled", err)
		}
	})
	t.Run("its time is over: inkand says so, and a PIN that comes too late is not sent", func(t *testing.T) {
		fake := startFake(t)
		var patient atomic.Bool
		fake.ChangePrompts(func(p *inkanpb.PinPrompt) {
			if !patient.Load() {
				p.Timeout = durationpb.New(1)
			}
		})
		c := dial(t, fake, client.Options{PIN: sourceFunc(func(ctx context.Context, _ client.Prompt, buf []byte) (int, error) {
			if !patient.Load() {
				<-ctx.Done()
			}
			return copy(buf, []byte{'1', '2', '3', '4', '5', '6'}), nil
		})})
		if _, err := c.VerifyPIN(t.Context(), clientfake.CardID); !errors.Is(err, client.ErrPromptTimeout) {
			t.Errorf("got %v, want ErrPromptTimeout", err)
		}
		// Packets keep their order: an answer to the first prompt would be
		// counted before the one to the second.
		patient.Store(true)
		if _, err := c.VerifyPIN(t.Context(), clientfake.CardID); err != nil {
			t.Fatal(err)
		}
		if n := fake.Answers(); n != 1 {
			t.Errorf("%d PINs were sent, want 1", n)
		}
	})
	t.Run("the client is closed", func(t *testing.T) {
		fake, asked := startFake(t), make(chan struct{}, 1)
		c := dial(t, fake, client.Options{PIN: waiting(asked)})
		go func() { <-asked; _ = c.Close() }()
		if _, err := c.VerifyPIN(t.Context(), clientfake.CardID); err == nil {
			t.Error("got success from a closed client")
		}
	})
}

func TestOnePromptAtATime(t *testing.T) {
	fake := startFake(t)
	var open atomic.Int32
	c := dial(t, fake, client.Options{PIN: sourceFunc(func(_ context.Context, _ client.Prompt, buf []byte) (int, error) {
		if open.Add(1) != 1 {
			t.Error("a second prompt while one is open")
		}
		defer open.Add(-1)
		return copy(buf, []byte{'1', '2', '3', '4', '5', '6'}), nil
	})})
	var calls sync.WaitGroup
	for range 12 {
		calls.Go(func() {
			if _, err := c.VerifyPIN(t.Context(), clientfake.CardID); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
}

func TestThePINNeverEntersGRPC(t *testing.T) {
	fake := startFake(t)
	for _, n := range []int{6, 8} { // right, and wrong
		c := dial(t, fake, client.Options{PIN: digits(n)})
		_, _ = c.VerifyPIN(t.Context(), clientfake.CardID)
		_, _ = c.Status(t.Context())
	}
	wire := fake.Wire()
	if !bytes.Contains(wire, []byte(clientfake.CardID)) {
		t.Fatal("the recording is empty: the test proves nothing")
	}
	if bytes.Contains(wire, []byte("123456")) {
		t.Error("the PIN is in what the client sent over gRPC")
	}
}
