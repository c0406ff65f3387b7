package broker_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/inkan-project/inkan/daemon/internal/broker"
	"github.com/inkan-project/inkan/token"
)

// batchOf signs n documents with the key in a slot. What leaves is an event.
func (h *house) batchOf(ctx context.Context, c broker.Caller, slot string, n int) (came []broker.Signed, end broker.BatchEnd, err error) {
	req := broker.BatchRequest{Algorithm: token.ECDSASHA256}
	for _, k := range h.card().Keys {
		if k.Slot == slot {
			req.Key = k.ID
		}
	}
	for i := range n {
		req.Documents = append(req.Documents, broker.Document{Digest: make([]byte, 32), Name: fmt.Sprint("文書", i)})
	}
	end, err = h.SignBatch(ctx, c, req, func(s broker.Signed) {
		_ = h.events.add("OUT")
		came = append(came, s)
		s.Left()
	})
	return came, end, err
}

// neverEarly fails unless, in what happened, each signature left after its result
// was durable and each was begun after its intent was.
func neverEarly(t *testing.T, happened string) {
	t.Helper()
	var intents, results, signs, outs int
	for _, e := range strings.Fields(happened) {
		switch e {
		case "log-intent":
			intents++
		case "log-result":
			results++
		case "SIGN":
			signs++
		case "OUT":
			outs++
		}
		if signs > intents || outs > results {
			t.Fatalf("%s: %d signatures after %d intents, %d left after %d results", happened, signs, intents, outs, results)
		}
	}
}

func TestNothingOfABatchLeavesBeforeItsRecord(t *testing.T) {
	h := newHouse(t, nil)
	for _, slot := range []string{"9a", "9e"} {
		came, end, err := h.batchOf(t.Context(), h.caller, slot, 5)
		happened := h.events.take()
		if err != nil || len(came) != 5 || end != (broker.BatchEnd{Done: 5}) {
			t.Errorf("%s: %d came, %+v, %v", slot, len(came), end, err)
		}
		neverEarly(t, happened)
		if n := strings.Count(happened, "IDENTIFY"); n != 1 {
			t.Errorf("%s: the card was used %d times for one batch", slot, n)
		}
		if h.guard.Err() != nil || h.left() != 10 {
			t.Errorf("%s: %d tries left, %v", slot, h.left(), h.guard.Err())
		}
	}
	if n := len(h.agent.asked); n != 1 || h.agent.asked[0].DocumentCount != 5 || len(h.agent.asked[0].DocumentNames) != 5 {
		t.Errorf("%d prompts, the first %+v", n, h.agent.asked)
	}
}

func TestABatchEndsWhenNothingCanBeRecorded(t *testing.T) {
	for _, fault := range []string{"log-result", "log-intent", "journal"} {
		for nth := 1; nth <= 3; nth++ {
			t.Run(fmt.Sprint(fault, nth), func(t *testing.T) {
				h := newHouse(t, nil)
				h.events.fail = fault
				left := nth
				h.events.at = func() { // fail the nth only
					if left--; left == 0 {
						h.events.mu.Lock()
						h.events.at = nil
						h.events.mu.Unlock()
					}
				}
				if nth == 1 {
					h.events.at = nil
				}
				came, end, err := h.batchOf(t.Context(), h.named("batch-1"), "9a", 5)
				if k := token.KindOf(err); k != token.KindAuditUnavailable && k != token.KindJournalUnavailable {
					t.Fatalf("%v", err)
				}
				neverEarly(t, h.events.take())
				made := len(h.truth(t).Signatures)
				if end.Done != len(came) || made > end.Done+end.Unknown || end.Done+end.Unknown+end.NotDone != 5 {
					t.Errorf("%d came, %+v, the card made %d", len(came), end, made)
				}
			})
		}
	}
}

func TestACallerThatIsGoneEndsItsBatch(t *testing.T) {
	h := newHouse(t, nil)
	h.events.fail, h.events.at = "OUT", func() { h.alive = errFault }
	came, end, err := h.batchOf(t.Context(), h.caller, "9a", 5)
	if token.KindOf(err) != token.KindCallerGone || end.Unknown != 0 || end.Done > 2 {
		t.Errorf("%d came, %+v, %v; want CALLER_GONE after the first", len(came), end, err)
	}
	if n := len(h.results(t)); n < end.Done+1 {
		t.Errorf("%d results for %+v", n, end)
	}
}

// Another caller's signature waits until the batch is over, and has its own PIN.
func TestNobodyRidesOnABatch(t *testing.T) {
	h := newHouse(t, nil)
	second := make(chan error, 1)
	other := h.caller
	other.UID++
	h.events.fail = "OUT"
	h.events.at = func() {
		h.events.mu.Lock()
		h.events.at, h.events.fail = nil, ""
		h.events.mu.Unlock()
		asked := make(chan struct{})
		h.agent.before = func() { close(asked) }
		go func() {
			_, err := h.signAs(context.Background(), h.Broker, other, "")
			second <- err
		}()
		<-asked
	}
	if _, _, err := h.batchOf(t.Context(), h.caller, "9a", 5); err != nil {
		t.Fatal(err)
	}
	if err := <-second; err != nil {
		t.Fatal(err)
	}
	happened := h.events.take()
	if i, j := strings.LastIndex(happened, "OUT"), strings.LastIndex(happened, "VERIFY"); strings.Count(happened, "VERIFY") != 2 || j < i || strings.Count(happened, "IDENTIFY") != 2 {
		t.Errorf("%s: want a second use with a VERIFY of its own after the batch", happened)
	}
	if len(h.agent.asked) != 2 || h.agent.asked[1].UID != other.UID {
		t.Errorf("%d prompts", len(h.agent.asked))
	}
}

func TestABatchHasItsBounds(t *testing.T) {
	h := newHouse(t, nil)
	for _, n := range []int{0, broker.MaxBatch + 1} {
		if _, end, err := h.batchOf(t.Context(), h.caller, "9a", n); token.KindOf(err) != token.KindRequestInvalid || end.NotDone != n {
			t.Errorf("%d documents: %+v, %v", n, end, err)
		}
	}
	h.agent.fail = token.NewError(token.KindPromptCancelled)
	if _, end, err := h.batchOf(t.Context(), h.caller, "9a", 3); token.KindOf(err) != token.KindPromptCancelled || end.NotDone != 3 {
		t.Errorf("a person who says no: %+v, %v", end, err)
	}
	if got := h.events.take(); strings.Contains(got, "IDENTIFY") {
		t.Errorf("%s: the card was used", got)
	}
}

func TestABatchGivesEachSignatureItsSecondPIN(t *testing.T) {
	h, cards := newAskingHouse(t)
	came, end, err := h.batchOf(t.Context(), h.caller, "9a", 3)
	if err != nil || len(came) != 3 || end.Done != 3 {
		t.Fatalf("%d came, %+v, %v", len(came), end, err)
	}
	neverEarly(t, h.events.take())
	if truth := h.truth(t); truth.Verifies != 4 || len(h.agent.asked) != 1 || h.left() != 10 {
		t.Errorf("%d VERIFYs, %d prompts and %d tries left; want 4, 1 and 10", truth.Verifies, len(h.agent.asked), h.left())
	}
	wrong := token.VerdictWrong
	cards.second = &wrong
	if _, end, err := h.batchOf(t.Context(), h.caller, "9a", 3); token.KindOf(err) != token.KindPINWrong || end.NotDone != 3 || h.left() != 9 {
		t.Errorf("%+v, %v, %d tries left", end, err, h.left())
	}
}
