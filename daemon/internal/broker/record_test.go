package broker_test

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/audit/audittest"
	"github.com/inkan-project/inkan/daemon/internal/broker"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/daemon/internal/prompt"
	"github.com/inkan-project/inkan/token"
)

// meeting is where the two halves of a barrier wait for each other.
type meeting struct {
	pinguard.FS
	audit.Storage
	slot, row chan struct{} // closed when the half is under way
	once      [2]sync.Once
	late      <-chan time.Time
	missed    bool
}

type meetingFile struct {
	pinguard.File
	m *meeting
}

func (m *meeting) Create(name string) (pinguard.File, error) {
	f, err := m.FS.Create(name)
	return meetingFile{f, m}, err
}

// arrive says that one half is under way and waits for the other.
func (m *meeting) arrive(half int, own, other chan struct{}) {
	m.once[half].Do(func() {
		close(own)
		select {
		case <-other:
		case <-m.late:
			m.missed = true
		}
	})
}

func (f meetingFile) WriteAt(b []byte, off int64) (int, error) {
	if off > 0 { // not the making of the file
		f.m.arrive(0, f.m.slot, f.m.row)
	}
	return f.File.WriteAt(b, off)
}

func (m *meeting) Append(ctx context.Context, rows ...audit.Row) error {
	m.arrive(1, m.row, m.slot)
	return m.Storage.Append(ctx, rows...)
}

func TestTheTwoHalvesOfABarrierAreWrittenSideBySide(t *testing.T) {
	m := &meeting{
		FS: pinguard.DirFS(t.TempDir()), Storage: &audittest.Memory{},
		slot: make(chan struct{}), row: make(chan struct{}), late: time.After(10 * time.Second),
	}
	h := newHouse(t, func(c *broker.Config) { c.Guard, c.Log = openBoth(t, m, m) })
	if _, err := h.sign(t, "9e"); err != nil || m.missed {
		t.Errorf("Sign: %v; one half waited for the other to end: %t", err, m.missed)
	}
}

func openBoth(t *testing.T, fs pinguard.FS, storage audit.Storage) (*pinguard.Guard, *audit.Log) {
	t.Helper()
	guard, _, err := pinguard.Open(pinguard.Config{FS: fs, Now: time.Now, Slots: 64})
	if err != nil {
		t.Fatal(err)
	}
	log, err := audit.Open(t.Context(), audit.Config{Storage: storage, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return guard, log
}

// tally counts slots and rows as they are written. Rows take their time.
type tally struct {
	pinguard.FS
	audit.Storage
	mu          sync.Mutex // guards the fields that follow
	slots, rows int
	apart       int // the most that one was ahead of the other
}

type tallyFile struct {
	pinguard.File
	t *tally
}

func (t *tally) Create(name string) (pinguard.File, error) {
	f, err := t.FS.Create(name)
	return tallyFile{f, t}, err
}

func (t *tally) add(slots, rows int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.slots, t.rows = t.slots+slots, t.rows+rows
	t.apart = max(t.apart, t.slots-t.rows, t.rows-t.slots)
}

func (f tallyFile) WriteAt(b []byte, off int64) (int, error) {
	if off > 0 { // not the making of the file
		f.t.add(1, 0)
	}
	return f.File.WriteAt(b, off)
}

func (t *tally) Append(ctx context.Context, rows ...audit.Row) error {
	for range 1000 { // every other barrier has its chance
		runtime.Gosched()
	}
	t.add(0, 1)
	return t.Storage.Append(ctx, rows...)
}

// A crash leaves at most one barrier half done: more could not be told from
// damage.
func TestOneBarrierIsUnderWayAtATime(t *testing.T) {
	both := &tally{FS: pinguard.DirFS(t.TempDir()), Storage: &audittest.Memory{}}
	h := newHouse(t, func(c *broker.Config) { c.Guard, c.Log = openBoth(t, both, both) })
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := h.Stopped(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if both.slots != 8 || both.rows != 8 || both.apart != 1 {
		t.Errorf("%d slots and %d rows, at most %d apart; want 8 and 8, 1 apart", both.slots, both.rows, both.apart)
	}
}

func TestEveryRecordSaysWhoAskedAndThatTheCardIsVirtual(t *testing.T) {
	p := &pages{digits: "123456", source: prompt.SourcePrompt}
	h := newHouse(t, func(c *broker.Config) { c.Prompter = p })
	if _, err := h.sign(t, "9a"); err != nil {
		t.Fatal(err)
	}
	p.err = token.NewError(token.KindPromptCancelled)
	if _, err := h.sign(t, "9a"); token.KindOf(err) != token.KindPromptCancelled {
		t.Fatal(err)
	}
	records, _, err := h.log.List(t.Context(), audit.Filter{})
	if err != nil || len(records) != 3 {
		t.Fatalf("%d records, %v; want an intent, its result and a refusal", len(records), err)
	}
	for _, r := range records {
		if !r.Virtual || !r.HasUID || r.UID != 1000 || r.PID != 42 || r.Card != h.card().Identity.Card || r.Operation != "sign" {
			t.Errorf("record %+v does not say who asked for what", r)
		}
	}
	if r := records[2]; r.Kind != audit.KindRefused || r.Code != string(token.KindPromptCancelled) {
		t.Errorf("the refusal is recorded as %s %s", r.Kind, r.Code)
	}
}

func TestASignatureThatNobodyGetsIsNotRecordedAsGiven(t *testing.T) {
	h := newHouse(t, nil)
	h.events.fail, h.events.at = "SIGN", func() { h.alive = errFault }
	if _, err := h.sign(t, "9e"); token.KindOf(err) != token.KindCallerGone {
		t.Fatalf("Sign: %v, want CALLER_GONE", err)
	}
	records, _, err := h.log.List(t.Context(), audit.Filter{Newest: true, Limit: 1})
	if err != nil || records[0].Outcome != audit.OutcomeFailed || records[0].Code != string(token.KindCallerGone) {
		t.Errorf("result %+v, %v; want FAILED because of CALLER_GONE", records, err)
	}
}

// noKeys is a register that knows no card.
type noKeys struct{ registered }

func (noKeys) Key(context.Context, token.KeyID) (token.Key, bool, error) {
	return token.Key{}, false, nil
}

func TestAKeyThatIsNotRegisteredDoesNotSign(t *testing.T) {
	h := newHouse(t, func(c *broker.Config) { c.Register = noKeys{} })
	if sig, err := h.sign(t, "9e"); err == nil || sig.Bytes != nil || len(h.truth(t).Signatures) != 0 {
		t.Errorf("Sign: %v, %v, and the card made %d signatures; want none", sig, err, len(h.truth(t).Signatures))
	}
}

func TestTheCardSignsNothingWhoseIntentIsNotDurable(t *testing.T) {
	for _, half := range []string{"journal", "log-intent"} {
		for _, slot := range []string{"9a", "9e"} { // with the PIN and without
			h := newHouse(t, nil)
			h.events.fail = half
			sig, err := h.sign(t, slot)
			if saw := h.truth(t); err == nil || sig.Bytes != nil || len(saw.Signatures) != 0 || saw.Verifies != 0 {
				t.Errorf("%s without its %s half: %v, and the card saw %d VERIFYs and made %d signatures",
					slot, half, err, saw.Verifies, len(saw.Signatures))
			}
		}
	}
}

func TestAfterAFailureNeitherHalfIsWrittenAnyMore(t *testing.T) {
	for _, half := range []string{"journal", "log-intent"} {
		h := newHouse(t, nil)
		h.events.fail = half
		if _, err := h.sign(t, "9e"); err == nil {
			t.Fatalf("signed without its %s half", half)
		}
		h.events.fail = ""
		h.events.take()
		for _, slot := range []string{"9a", "9e"} {
			_, _ = h.sign(t, slot) // fails: another test's business
		}
		_ = h.Stopped()
		if got := h.events.take(); strings.Contains(got, "journal") || strings.Contains(got, "log-") {
			t.Errorf("after the %s half had failed: %s", half, got)
		}
	}
}

// results are the result records of the log, oldest first.
func (h *house) results(t *testing.T) (all []audit.Record) {
	t.Helper()
	records, _, err := h.log.List(t.Context(), audit.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if r.Kind == audit.KindResult {
			all = append(all, r)
		}
	}
	return all
}

func TestThatACardWasUsedElsewhereIsInTheLogOnce(t *testing.T) {
	h, cards, _ := newJudgedHouse(t, nil)
	for i, left := range []int{9, 5, 4} {
		cards.verdict = &token.Verdict{Kind: token.VerdictWrong, SW: 0x63C0 + uint16(left), Tries: token.KnownTries(left)}
		h.caller.UID, h.agent.digits = uint32(i), string(rune('1'+i))+"00007"
		if _, err := h.VerifyPIN(t.Context(), h.caller, h.id()); token.KindOf(err) != token.KindPINWrong {
			t.Fatal(err)
		}
	}
	for i, r := range h.results(t) {
		if told := strings.Contains(r.Detail, "elsewhere"); told != (i == 1) {
			t.Errorf("result %d says %q", i+1, r.Detail)
		}
	}
}

func TestAFaultySignatureIsInTheLogAsSuch(t *testing.T) {
	h := newHouse(t, func(c *broker.Config) { c.Register = otherKey{} })
	if sig, err := h.sign(t, "9a"); err == nil || sig.Bytes != nil {
		t.Fatalf("Sign: %v, %v", sig, err)
	}
	all := h.results(t)
	if len(all) != 1 || all[0].Outcome != audit.OutcomeFailed || all[0].Code != string(token.KindSignatureCheckFailed) {
		t.Errorf("results %+v, want one that failed as SIGNATURE_CHECK_FAILED", all)
	}
}
