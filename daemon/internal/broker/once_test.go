package broker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/audit/audittest"
	"github.com/inkan-project/inkan/daemon/internal/broker"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	"github.com/inkan-project/inkan/token"
)

// named returns the house's caller with a request of this name.
func (h *house) named(id string) broker.Caller {
	c := h.caller
	c.Request.ID = id
	return c
}

// signAs signs with 9a for a caller.
func (h *house) signAs(ctx context.Context, b *broker.Broker, c broker.Caller, document string) (broker.Signature, error) {
	return b.Sign(ctx, c, broker.SignRequest{
		Key: h.card().Keys[0].ID, Algorithm: token.ECDSASHA256, Digest: make([]byte, 32), DocumentName: document,
	})
}

// everyMethod is each acting call, with what it answers in words.
func everyMethod(h *house, b *broker.Broker) map[string]func(broker.Caller) (string, error) {
	status := func(s broker.CardStatus, err error) (string, error) {
		return fmt.Sprintf("state %d, PIN %d of %d, unlock code %d of %d", s.State, s.PIN.Left, s.PIN.Limit, s.Unlock.Left, s.Unlock.Limit), err
	}
	id, ctx := h.id(), context.Background()
	return map[string]func(broker.Caller) (string, error){
		"sign": func(c broker.Caller) (string, error) {
			s, err := h.signAs(ctx, b, c, "文書")
			return fmt.Sprintf("%x %d %d", s.Bytes, s.Record, s.Warning), err
		},
		"verify": func(c broker.Caller) (string, error) {
			s, err := b.VerifyPIN(ctx, c, id)
			s.State = 0
			return status(s, err)
		},
		"change-pin": func(c broker.Caller) (string, error) {
			s, err := b.ChangePIN(ctx, c, id)
			s.State = 0
			return status(s, err)
		},
		"unlock": func(c broker.Caller) (string, error) {
			s, w, err := b.Unlock(ctx, c, id)
			s.State = 0
			text, err := status(s, err)
			return text + fmt.Sprint(w), err
		},
		"acknowledge": func(c broker.Caller) (string, error) { return status(b.Acknowledge(ctx, c, id, true, "x")) },
		"stop-here": func(c broker.Caller) (string, error) {
			serial := h.card().Serial
			n, err := b.StopHere(ctx, c, broker.StopRequest{Card: id, SerialTail: serial[len(serial)-4:], Reason: "紛失"})
			return fmt.Sprint(n), err
		},
		"verify-gone": func(c broker.Caller) (string, error) { return status(b.VerifyPIN(ctx, c, "piv-00")) },
		"lift": func(c broker.Caller) (string, error) {
			n, err := b.Lift(ctx, c, id, "found")
			return fmt.Sprint(n), err
		},
	}
}

// prepare makes a method possible.
func (h *house) prepare(t *testing.T, method string) {
	t.Helper()
	switch method {
	case "change-pin":
		h.agent.next = []string{"840271", "840271"}
	case "unlock":
		h.agent.digits, h.agent.next = pivcard.DemoUnlockCode, []string{"840271", "840271"}
	case "acknowledge":
		h.spend(t, token.SecretPIN, token.VerdictNone, 3)
	case "lift":
		if _, err := h.stop(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
	}
}

// onDisk is a house whose records outlive a start.
func onDisk(t *testing.T) (*house, disks) {
	t.Helper()
	d := disks{pinguard.DirFS(t.TempDir()), &audittest.Memory{}}
	var guard *pinguard.Guard
	h := newHouse(t, func(c *broker.Config) { _, c.Guard, c.Log, _ = d.start(t); guard = c.Guard })
	h.guard = guard
	return h, d
}

// restart is a start on the same records, without any card.
func (d disks) restart(t *testing.T) *broker.Broker {
	t.Helper()
	b, _, _, found := d.start(t)
	if err := b.Recover(t.Context(), found, "again"); err != nil {
		t.Fatal(err)
	}
	return b
}

func methods() []string {
	return []string{"sign", "verify", "change-pin", "unlock", "acknowledge", "stop-here", "lift"}
}

func TestARequestIsDoneOnceAndItsAnswerRepeated(t *testing.T) {
	for _, method := range methods() {
		t.Run(method, func(t *testing.T) {
			h, d := onDisk(t)
			h.prepare(t, method)
			call := everyMethod(h, h.Broker)[method]
			want, err := call(h.named("bid-1"))
			if err != nil {
				t.Fatal(err)
			}
			rows, asked := len(d.log.Rows()), len(h.agent.asked)
			h.events.take()
			for range 3 {
				if got, err := call(h.named("bid-1")); got != want || err != nil {
					t.Errorf("again: %s, %v; want %s", got, err, want)
				}
			}
			other := h.named("bid-1")
			other.Program = "/usr/bin/other"
			if _, err := call(other); token.KindOf(err) != token.KindRequestIDReused {
				t.Errorf("another program: %v, want REQUEST_ID_REUSED", err)
			}
			restarted := everyMethod(h, d.restart(t))[method]
			if got, err := restarted(h.named("bid-1")); got != want || err != nil {
				t.Errorf("after a restart: %s, %v; want %s", got, err, want)
			}
			if n := len(d.log.Rows()); n != rows+1 || len(h.agent.asked) != asked || h.events.take() != "" {
				t.Errorf("the repeats wrote %d records (the start is one) and asked %d times", n-rows, len(h.agent.asked)-asked)
			}
		})
	}
}

func TestARefusalIsRepeated(t *testing.T) {
	for name, tt := range map[string]struct {
		method string
		spoil  func(t *testing.T, h *house)
		want   token.Kind
	}{
		"a wrong PIN":              {"sign", func(_ *testing.T, h *house) { h.agent.digits = "000000" }, token.KindPINWrong},
		"a wrong unlock code":      {"unlock", func(_ *testing.T, h *house) { h.agent.digits = "00000000" }, token.KindUnlockCodeWrong},
		"a card that is not there": {"verify-gone", func(*testing.T, *house) {}, token.KindCardNotFound},
		"a card that is stopped":   {"sign", func(t *testing.T, h *house) { h.prepare(t, "lift") }, token.KindCardStoppedHere},
		"a card that is not held":  {"acknowledge", func(*testing.T, *house) {}, token.KindCardNotHeld},
		"a card that is not lost":  {"lift", func(*testing.T, *house) {}, token.KindCardNotStopped},
		"a PIN that cannot be one": {"change-pin", func(_ *testing.T, h *house) { h.agent.digits = "1" }, token.KindPINMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			h, d := onDisk(t)
			calls := everyMethod(h, h.Broker) // before the card goes
			if tt.method == "unlock" {
				h.prepare(t, tt.method)
			}
			tt.spoil(t, h)
			_, want := calls[tt.method](h.named("bid-1"))
			if token.KindOf(want) != tt.want {
				t.Fatalf("first: %v, want %s", want, tt.want)
			}
			first, _ := errors.AsType[*token.Error](want)
			rows, asked := len(d.log.Rows()), len(h.agent.asked)
			h.events.take()
			_, again := calls[tt.method](h.named("bid-1"))
			_, later := everyMethod(h, d.restart(t))[tt.method](h.named("bid-1"))
			for when, err := range map[string]error{"again": again, "after a restart": later} {
				got, ok := errors.AsType[*token.Error](err)
				if !ok || got.Kind != first.Kind || !maps.Equal(got.Meta, first.Meta) {
					t.Errorf("%s: %v with %v, want %v with %v", when, err, got.Meta, first.Kind, first.Meta)
				}
			}
			if n := len(d.log.Rows()); n != rows+1 || len(h.agent.asked) != asked || h.events.take() != "" {
				t.Errorf("the repeats wrote %d records (the start is one) and asked %d times", n-rows, len(h.agent.asked)-asked)
			}
		})
	}
}

func TestOtherContentUnderANameIsRefused(t *testing.T) {
	h := newHouse(t, nil)
	if _, err := h.signAs(t.Context(), h.Broker, h.named("bid-1"), "入札書"); err != nil {
		t.Fatal(err)
	}
	h.events.take()
	if _, err := h.signAs(t.Context(), h.Broker, h.named("bid-1"), "委任状"); token.KindOf(err) != token.KindRequestIDReused {
		t.Errorf("another document: %v, want REQUEST_ID_REUSED", err)
	}
	if got := h.events.take(); got != "" {
		t.Errorf("events %q", got)
	}
	other := h.named("bid-1")
	other.UID++
	if _, err := h.signAs(t.Context(), h.Broker, other, "委任状"); err != nil {
		t.Errorf("the same name of another user: %v", err)
	}
	for _, bad := range []broker.RequestID{{ID: strings.Repeat("x", 65)}, {ID: "a b"}, {ID: "入札"}, {Repeat: true}} {
		c := h.caller
		c.Request = bad
		if _, err := h.signAs(t.Context(), h.Broker, c, ""); token.KindOf(err) != token.KindRequestInvalid {
			t.Errorf("%+v: %v, want REQUEST_INVALID", bad, err)
		}
	}
}

func TestANameCostsNoBarrier(t *testing.T) {
	h := newHouse(t, nil)
	if _, err := h.sign(t, "9a"); err != nil {
		t.Fatal(err)
	}
	want := h.events.take()
	if _, err := h.signAs(t.Context(), h.Broker, h.named("bid-1"), ""); err != nil {
		t.Fatal(err)
	}
	if got := h.events.take(); strings.Count(got, "journal") != strings.Count(want, "journal") || strings.Count(got, "log-") != strings.Count(want, "log-") {
		t.Errorf("with a name %q, without %q", got, want)
	}
}

func TestARepeatWaitsForTheFirstAndTheCardSignsOnce(t *testing.T) {
	h := newHouse(t, nil)
	prompted, enter := make(chan struct{}), make(chan struct{})
	h.agent.before = func() { close(prompted); <-enter }
	answers := make(chan string, 8)
	sign := func() {
		s, err := h.signAs(t.Context(), h.Broker, h.named("bid-1"), "")
		answers <- fmt.Sprintf("%x %d %v", s.Bytes, s.Record, err)
	}
	go sign()
	<-prompted
	for range cap(answers) - 1 {
		go sign()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := h.signAs(ctx, h.Broker, h.named("bid-1"), ""); token.KindOf(err) != token.KindCallEnded {
		t.Errorf("a repeat whose time is over: %v, want CALL_ENDED", err)
	}
	close(enter)
	want := <-answers
	for range cap(answers) - 1 {
		if got := <-answers; got != want {
			t.Errorf("answers %s and %s", got, want)
		}
	}
	if got := h.truth(t); got.Verifies != 1 || len(got.Signatures) != 1 || !strings.HasSuffix(want, "<nil>") {
		t.Errorf("%d PINs and %d signatures for %s", got.Verifies, len(got.Signatures), want)
	}
}

func TestACallThatEndedBeforeItBeganLeavesItsNameFree(t *testing.T) {
	h := newHouse(t, nil)
	h.agent.fail = token.NewError(token.KindCallEnded)
	if _, err := h.signAs(t.Context(), h.Broker, h.named("bid-1"), ""); token.KindOf(err) != token.KindCallEnded {
		t.Fatalf("first: %v, want CALL_ENDED", err)
	}
	h.agent.fail = nil
	only := h.named("bid-1")
	only.Request.Repeat = true
	if _, err := h.signAs(t.Context(), h.Broker, only, ""); token.KindOf(err) != token.KindRequestNotKnown {
		t.Errorf("who only asks: %v, want REQUEST_NOT_KNOWN", err)
	}
	if _, err := h.signAs(t.Context(), h.Broker, h.named("bid-1"), ""); err != nil {
		t.Errorf("a new call: %v", err)
	}
	if _, err := h.signAs(t.Context(), h.Broker, only, ""); err != nil {
		t.Errorf("who only asks, later: %v", err)
	}
}

func TestARepeatIsLetHaveASignatureOnlyIfTheFirstWouldBe(t *testing.T) {
	h := newHouse(t, nil)
	first, err := h.signAs(t.Context(), h.Broker, h.named("bid-1"), "")
	if err != nil {
		t.Fatal(err)
	}
	h.alive = errors.New("gone")
	if s, err := h.signAs(t.Context(), h.Broker, h.named("bid-1"), ""); token.KindOf(err) != token.KindCallerGone || s.Bytes != nil {
		t.Errorf("a caller that is gone: %x, %v", s.Bytes, err)
	}
	h.alive = nil

	// A repeat that has begun to leave holds up a stop, as a signature does.
	leaving := h.named("bid-1")
	var left func()
	leaving.AfterSend = func(f func()) { left = f }
	if _, err := h.signAs(t.Context(), h.Broker, leaving, ""); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() { _, err := h.stop(t.Context(), ""); stopped <- err }()
	for h.Status(t.Context()).Cards[0].State != token.CardStoppedHere {
		runtime.Gosched()
	}
	if len(stopped) != 0 {
		t.Error("the stop was acknowledged while a repeat was leaving")
	}
	left()
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	if s, err := h.signAs(t.Context(), h.Broker, h.named("bid-1"), ""); token.KindOf(err) != token.KindCardStoppedHere || s.Bytes != nil {
		t.Errorf("of a stopped card: %x, %v", s.Bytes, err)
	}
	if _, err := h.Lift(t.Context(), h.caller, h.id(), "found"); err != nil {
		t.Fatal(err)
	}
	if s, err := h.signAs(t.Context(), h.Broker, h.named("bid-1"), ""); err != nil || !bytes.Equal(s.Bytes, first.Bytes) {
		t.Errorf("after the lift: %x, %v; want the first signature", s.Bytes, err)
	}
}

func TestAfterACrashBetweenIntentAndResultNobodyKnows(t *testing.T) {
	h, d := onDisk(t)
	if _, err := h.signAs(t.Context(), h.Broker, h.named("bid-1"), ""); err != nil {
		t.Fatal(err)
	}
	before, err := h.signAs(t.Context(), h.Broker, h.named("bid-2"), "")
	if err != nil {
		t.Fatal(err)
	}
	after := d.cut(t, 1) // the result of the second
	for range 2 {
		b := after.restart(t)
		_, err := h.signAs(t.Context(), b, h.named("bid-2"), "")
		if token.KindOf(err) != token.KindOutcomeUnknown {
			t.Errorf("the interrupted one: %v, want OUTCOME_UNKNOWN", err)
		}
		if s, err := h.signAs(t.Context(), b, h.named("bid-1"), ""); err != nil || s.Record >= before.Record {
			t.Errorf("the one before: record %d, %v", s.Record, err)
		}
	}
	if got := h.truth(t); len(got.Signatures) != 2 {
		t.Errorf("%d signatures, want 2", len(got.Signatures))
	}
}

func TestWhatCannotBeRecordedAsDoneIsNotKnown(t *testing.T) {
	h := newHouse(t, nil)
	h.events.fail = "log-result"
	if _, err := h.signAs(t.Context(), h.Broker, h.named("bid-1"), ""); token.KindOf(err) != token.KindAuditUnavailable {
		t.Fatalf("first: %v, want AUDIT_UNAVAILABLE", err)
	}
	h.events.fail = ""
	if s, err := h.signAs(t.Context(), h.Broker, h.named("bid-1"), ""); token.KindOf(err) != token.KindOutcomeUnknown || s.Bytes != nil {
		t.Errorf("again: %x, %v; want OUTCOME_UNKNOWN", s.Bytes, err)
	}
}

func TestRequestsOfADayAgoAreNotLoaded(t *testing.T) {
	var now time.Time
	log, err := audit.Open(t.Context(), audit.Config{Storage: &audittest.Memory{}, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, func(c *broker.Config) { c.Log = log })
	now = time.Now().Add(-25 * time.Hour)
	old, err := h.signAs(t.Context(), h.Broker, h.named("bid-1"), "")
	if err != nil {
		t.Fatal(err)
	}
	now = time.Now().Add(-23 * time.Hour)
	young, err := h.signAs(t.Context(), h.Broker, h.named("bid-2"), "")
	if err != nil {
		t.Fatal(err)
	}
	second := broker.New(broker.Config{Guard: h.guard, Log: log, Now: time.Now, Cards: h.cards, Logger: slog.New(slog.DiscardHandler)})
	if err := second.Recover(t.Context(), pinguard.Recovery{}, "again"); err != nil {
		t.Fatal(err)
	}
	only := func(id string) broker.Caller { c := h.named(id); c.Request.Repeat = true; return c }
	if s, err := h.signAs(t.Context(), second, only("bid-2"), ""); err != nil || s.Record != young.Record {
		t.Errorf("of 23 hours ago: record %d, %v", s.Record, err)
	}
	if _, err := h.signAs(t.Context(), second, only("bid-1"), ""); token.KindOf(err) != token.KindRequestNotKnown {
		t.Errorf("record %d, of 25 hours ago: %v, want REQUEST_NOT_KNOWN", old.Record, err)
	}
}
