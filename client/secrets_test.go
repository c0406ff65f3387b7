package client_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/client/internal/clientfake"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// person can be asked for everything. It notes what it was asked.
type person struct {
	pin, code, fresh, again string
	typed                   string // as the confirmation; "as asked" types what is asked for

	mu    sync.Mutex
	asked []client.Prompt
}

func (p *person) PIN(_ context.Context, q client.Prompt, buf []byte) (int, error) {
	p.note(q)
	if q.Secret != inkanpb.SecretKind_SECRET_KIND_PIN {
		return 0, errors.New("asked for another secret by PIN")
	}
	return copy(buf, p.pin), nil
}

func (p *person) Secret(_ context.Context, q client.Prompt, buf []byte) (int, error) {
	p.note(q)
	switch q.Secret {
	case inkanpb.SecretKind_SECRET_KIND_UNLOCK_CODE:
		return copy(buf, p.code), nil
	case inkanpb.SecretKind_SECRET_KIND_NEW_PIN:
		return copy(buf, p.fresh), nil
	case inkanpb.SecretKind_SECRET_KIND_NEW_PIN_AGAIN:
		return copy(buf, p.again), nil
	default:
		return 0, errors.New("not a secret of a person")
	}
}

func (p *person) Confirm(_ context.Context, q client.Prompt) (string, error) {
	p.note(q)
	if p.typed == "as asked" {
		return q.Confirmation, nil
	}
	return p.typed, nil
}

func (p *person) note(q client.Prompt) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, q)
}

func somebody() *person {
	return &person{pin: "123456", code: "12345678", fresh: "864209", again: "864209", typed: "as asked"}
}

// A program that knows a PIN must never have it sent as an unlock code: ten of
// those and the card is dead.
func TestASourceThatKnowsThePINOnlyIsAskedForNothingElse(t *testing.T) {
	for _, tc := range []struct {
		name  string
		cause string
		call  func(t *testing.T, fake *clientfake.Server, c *client.Client) error
	}{
		{"the unlock code", "the PIN only", func(t *testing.T, fake *clientfake.Server, c *client.Client) error {
			fake.SetTries(0)
			_, err := c.Unlock(t.Context(), clientfake.CardID)
			return err
		}},
		{"a new PIN", "the PIN only", func(t *testing.T, _ *clientfake.Server, c *client.Client) error {
			_, err := c.ChangePIN(t.Context(), clientfake.CardID)
			return err
		}},
		{"a confirmation beside the PIN", "cannot ask a person", func(t *testing.T, fake *clientfake.Server, c *client.Client) error {
			fake.ConfirmFewTries()
			fake.SetTries(3)
			_, err := c.VerifyPIN(t.Context(), clientfake.CardID)
			return err
		}},
		{"a confirmation alone", "cannot ask a person", func(t *testing.T, fake *clientfake.Server, c *client.Client) error {
			fake.Hold()
			_, err := c.Acknowledge(t.Context(), clientfake.CardID, "")
			return err
		}},
		{"a secret of a later version", "does not know", func(t *testing.T, fake *clientfake.Server, c *client.Client) error {
			fake.ChangePrompts(func(p *inkanpb.PinPrompt) { p.Secret = 99 })
			_, err := c.VerifyPIN(t.Context(), clientfake.CardID)
			return err
		}},
		{"nothing at all", "does not know", func(t *testing.T, fake *clientfake.Server, c *client.Client) error {
			fake.ChangePrompts(func(p *inkanpb.PinPrompt) { p.Secret = inkanpb.SecretKind_SECRET_KIND_NONE })
			_, err := c.VerifyPIN(t.Context(), clientfake.CardID)
			return err
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fake := startFake(t)
			// The kind is looked at by the test's own source, too: it only fills.
			asked := false
			c := dial(t, fake, client.Options{PIN: sourceFunc(func(_ context.Context, p client.Prompt, buf []byte) (int, error) {
				asked = asked || p.Secret != inkanpb.SecretKind_SECRET_KIND_PIN || p.Confirmation != ""
				return copy(buf, []byte{'1', '2', '3', '4', '5', '6'}), nil
			})})
			err := tc.call(t, fake, c)
			if !errors.Is(err, client.ErrPromptCancelled) || asked {
				t.Errorf("got %v, asked for it: %v; want ErrPromptCancelled and false", err, asked)
			}
			if e, ok := errors.AsType[*client.Error](err); !ok || e.Unwrap() == nil || !strings.Contains(e.Unwrap().Error(), tc.cause) {
				t.Errorf("got %v, want the cause %q", err, tc.cause)
			}
			if fake.UnlockTries() != 10 || !fake.PINIs("123456") {
				t.Errorf("%d unlock tries are left, want 10 and the old PIN", fake.UnlockTries())
			}
		})
	}
}

func TestChangePINAsksForTheOldOneAndTwiceForTheNewOne(t *testing.T) {
	fake, who := startFake(t), somebody()
	pin, err := dial(t, fake, client.Options{PIN: who}).ChangePIN(t.Context(), clientfake.CardID)
	if err != nil || pin.GetTriesLeft() != 10 || !fake.PINIs("864209") {
		t.Errorf("got %v, %v", pin, err)
	}
	want := []inkanpb.SecretKind{
		inkanpb.SecretKind_SECRET_KIND_PIN, inkanpb.SecretKind_SECRET_KIND_NEW_PIN, inkanpb.SecretKind_SECRET_KIND_NEW_PIN_AGAIN,
	}
	if len(who.asked) != len(want) {
		t.Fatalf("asked %d times, want %d", len(who.asked), len(want))
	}
	for i, q := range who.asked {
		if q.Secret != want[i] || q.Purpose != "change-pin" || q.Timeout <= 0 {
			t.Errorf("prompt %d is %+v, want %v", i, q, want[i])
		}
	}
}

func TestUnlockSaysTheTriesOfBothSecretsAndWarns(t *testing.T) {
	fake, who := startFake(t), somebody()
	fake.ConfirmFewTries()
	fake.SetTries(0)
	fake.SetUnlockTries(2)
	c := dial(t, fake, client.Options{PIN: who})
	who.code = "87654321"
	_, err := c.Unlock(t.Context(), clientfake.CardID)
	if e, ok := errors.AsType[*client.Error](err); !ok || !errors.Is(err, client.ErrUnlockCodeWrong) || e.TriesLeft != 1 {
		t.Fatalf("got %v, want ErrUnlockCodeWrong with one try left", err)
	}
	if q := who.asked[0]; q.Confirmation != "2" || q.ConfirmationReason != inkanpb.ConfirmationReason_CONFIRMATION_REASON_REISSUE || q.Tries.Left != 2 {
		t.Errorf("the first prompt is %+v, want the confirmation 2, for the card may have to be re-issued", q)
	}
	who.code = "12345678"
	got, err := c.Unlock(t.Context(), clientfake.CardID)
	if err != nil || got.PIN.GetTriesLeft() != 10 || got.UnlockCode.GetTriesLeft() != 10 || len(got.Warnings) != 1 || got.Warnings[0] != "INK-6002" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestTheLastUnlockTrySaysThatTheCardMustBeReissued(t *testing.T) {
	e := client.NewError(inkanpb.Reason_REASON_UNLOCK_CODE_WRONG, "en", map[string]string{"tries_left": "0"})
	if !strings.Contains(e.Next, "re-issued") || strings.Contains(e.Next, "next try") {
		t.Errorf("the next step is %q", e.Next)
	}
}

func TestAConfirmationIsHandedOnAsItWasTyped(t *testing.T) {
	for _, tc := range []struct {
		name, typed string
		want        error
	}{
		{"as asked", "as asked", nil},
		{"something else", "2", client.ErrConfirmationRefused},
		{"nothing", "", client.ErrConfirmationRefused},
		{"more than the packet takes", strings.Repeat("3", 33), client.ErrConfirmationRefused},
		{"what is no text", "\xff", client.ErrConfirmationRefused},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fake, who := startFake(t), somebody()
			who.typed = tc.typed
			fake.ConfirmFewTries()
			fake.SetTries(3)
			c := dial(t, fake, client.Options{PIN: who})
			if _, err := c.VerifyPIN(t.Context(), clientfake.CardID); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			fake.SetTries(10)
			if _, err := c.VerifyPIN(t.Context(), clientfake.CardID); err != nil {
				t.Errorf("the agent is not usable any more: %v", err)
			}
		})
	}
}

func TestAcknowledgeByAPersonOrByAnAdministrator(t *testing.T) {
	fake, who := startFake(t), somebody()
	fake.SetTries(7)
	fake.Hold()
	c := dial(t, fake, client.Options{PIN: who})
	got, err := c.Acknowledge(t.Context(), clientfake.CardID, "")
	if err != nil || got.State != inkanpb.CardState_CARD_STATE_READY || got.PIN.GetTriesLeft() != 7 || got.UnlockCode.GetTriesLeft() != 10 {
		t.Errorf("got %+v, %v", got, err)
	}
	if len(who.asked) != 1 || who.asked[0].Secret != inkanpb.SecretKind_SECRET_KIND_NONE || who.asked[0].Confirmation != "7" {
		t.Errorf("asked %+v, want the confirmation alone", who.asked)
	}
	fake.Hold()
	if _, err := c.Acknowledge(t.Context(), clientfake.CardID, "checked the reader's cable"); err != nil || len(who.asked) != 1 {
		t.Errorf("got %v after %d prompts, want no further prompt", err, len(who.asked))
	}
	if fake.LastMetadata().Get("inkan-agent") != nil {
		t.Error("an administrator's call names an agent")
	}
	if _, err := c.Acknowledge(t.Context(), clientfake.CardID, ""); !errors.Is(err, client.ErrCardNotHeld) {
		t.Errorf("got %v, want ErrCardNotHeld", err)
	}
}

func TestACardIsStoppedAndLiftedAlsoWhenItIsGone(t *testing.T) {
	fake := startFake(t)
	fake.TakeCardOut()
	c := dial(t, fake, client.Options{})
	tail := clientfake.Serial[len(clientfake.Serial)-4:]
	if _, err := c.StopHere(t.Context(), clientfake.CardID, "0000", ""); !errors.Is(err, client.ErrConfirmationRefused) {
		t.Errorf("got %v, want ErrConfirmationRefused", err)
	}
	record, err := c.StopHere(t.Context(), clientfake.CardID, tail, "紛失")
	if err != nil || record == 0 {
		t.Fatalf("got record %d, %v", record, err)
	}
	cards, err := c.Cards(t.Context())
	if err != nil || len(cards) != 2 || cards[0].GetPresent() || cards[0].GetStop().GetReason() != "紛失" || cards[1].GetId() != clientfake.OtherCardID {
		t.Errorf("got %v, %v", cards, err)
	}
	if _, err := c.Lift(t.Context(), clientfake.CardID, "found"); err != nil {
		t.Error(err)
	}
	if _, err := c.Lift(t.Context(), clientfake.CardID, "found"); !errors.Is(err, client.ErrCardNotStopped) {
		t.Errorf("got %v, want ErrCardNotStopped", err)
	}
	calls := fake.Calls()
	if _, err := c.Lift(t.Context(), clientfake.CardID, "\xff"); !errors.Is(err, client.ErrRequestInvalid) || fake.Calls() != calls {
		t.Errorf("got %v after %d calls, want ErrRequestInvalid and nothing sent", err, fake.Calls()-calls)
	}
}

func TestCallsThatMaySpendATryAreSentOnce(t *testing.T) {
	fake, who := startFake(t), somebody()
	who.pin, who.code = "999999", "99999999"
	c := dial(t, fake, client.Options{PIN: who})
	before := fake.Calls()
	_, _ = c.ChangePIN(t.Context(), clientfake.CardID)
	_, _ = c.Unlock(t.Context(), clientfake.CardID)
	if got := fake.Calls() - before; got != 2 || fake.Tries() != 9 || fake.UnlockTries() != 9 {
		t.Errorf("%d calls, %d and %d tries left; want 2, 9 and 9", got, fake.Tries(), fake.UnlockTries())
	}
}

func TestAPromptOfAnotherProcessAnswersForAClientThatNamesIt(t *testing.T) {
	fake, who := startFake(t), somebody()
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: fake.PINSocket, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ids, ended, failed := make(chan string, 1), make(chan error, 1), make(chan error, 1)
	go func() {
		ended <- client.PromptAgent{
			Source:   who,
			Welcomed: func(id string) error { ids <- id; return nil },
			Failed:   func(err error) { failed <- err },
		}.Serve(ctx, conn)
	}()
	id := <-ids
	if _, err := dial(t, fake, client.Options{Agent: id}).ChangePIN(t.Context(), clientfake.CardID); err != nil || !fake.PINIs("864209") {
		t.Errorf("got %v", err)
	}
	fake.ChangePrompts(func(p *inkanpb.PinPrompt) { p.Secret = 99 })
	if _, err := dial(t, fake, client.Options{Agent: id}).VerifyPIN(t.Context(), clientfake.CardID); !errors.Is(err, client.ErrPromptCancelled) {
		t.Errorf("got %v, want ErrPromptCancelled", err)
	}
	if err := <-failed; err == nil {
		t.Error("the agent was not told why")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("ended with %v, want nil", err)
	}
	if _, err := client.Dial(t.Context(), client.Options{Socket: fake.Socket, PIN: who, Agent: id}); !errors.Is(err, client.ErrRequestInvalid) {
		t.Errorf("got %v for both a source and an agent, want ErrRequestInvalid", err)
	}
}

func TestAPromptAgentEndsWithInkand(t *testing.T) {
	fake := startFake(t)
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: fake.PINSocket, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	err = client.PromptAgent{Source: somebody(), Welcomed: func(string) error { fake.StopAgents(); return nil }}.Serve(t.Context(), conn)
	if err == nil {
		t.Error("ended without an error though inkand has gone")
	}
}
