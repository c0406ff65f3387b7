package broker_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/audit/audittest"
	"github.com/inkan-project/inkan/daemon/internal/broker"
	"github.com/inkan-project/inkan/daemon/internal/cardowner"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/daemon/internal/prompt"
	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/pcsc/virtual"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/piv"
)

// events is what happened, in order: the order is what the broker is for.
type events struct {
	mu  sync.Mutex // guards all
	all []string
	// fail makes the next event of this name an error, and at is called there.
	fail string
	at   func()
}

var errFault = errors.New("fault made by the test")

func (e *events) add(name string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, name)
	if e.fail != name {
		return nil
	}
	if e.at != nil {
		e.at()
		return nil
	}
	return errFault
}

func (e *events) take() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := strings.Join(e.all, " ")
	e.all = nil
	return s
}

// journalFS notes each sync of the journal.
type journalFS struct {
	pinguard.FS
	e *events
}

func (f journalFS) Create(name string) (pinguard.File, error) {
	file, err := f.FS.Create(name)
	return journalFile{file, f.e}, err
}

type journalFile struct {
	pinguard.File
	e *events
}

func (f journalFile) Sync() error {
	if err := f.File.Sync(); err != nil {
		return err
	}
	return f.e.add("journal")
}

// logStorage notes each record that is durable.
type logStorage struct {
	audit.Storage
	e *events
}

func (s logStorage) Append(ctx context.Context, row audit.Row) error {
	if err := s.Storage.Append(ctx, row); err != nil {
		return err
	}
	return s.e.add("log-" + string(row.Kind))
}

// house is a broker on a virtual card, with everything noted.
type house struct {
	*broker.Broker
	events *events
	cards  *cardowner.Owner
	guard  *pinguard.Guard
	log    *audit.Log
	reader *virtual.System
	dir    string // of the card
	agent  agent
	caller broker.Caller
	alive  error
}

// agent answers prompts.
type agent struct {
	digits string
	source prompt.Source
	asked  []prompt.Request
	before func()
}

func (a *agent) Ask(_ context.Context, req prompt.Request) (prompt.Answer, error) {
	a.asked = append(a.asked, req)
	if a.before != nil {
		a.before()
	}
	page := make([]byte, token.PINPageMin)
	copy(page[token.PINHeadroom:], a.digits)
	pin, err := token.NewPIN(page, len(a.digits), nil)
	return prompt.Answer{PIN: pin, Source: a.source}, err
}

type registered struct{ cards *cardowner.Owner }

func (r registered) Key(_ context.Context, id token.KeyID) (token.Key, bool, error) {
	for _, reader := range r.cards.Readers() {
		if reader.Card == nil {
			continue
		}
		for _, k := range reader.Card.Keys {
			if k.ID == id {
				return k, true, nil
			}
		}
	}
	return token.Key{}, false, nil
}

// commandName names a command to the card, or "" for one that is not of
// interest.
func commandName(command []byte) string {
	switch {
	case len(command) > 5 && command[1] == 0x20: // VERIFY with data
		return "VERIFY"
	case len(command) > 5 && command[1] == 0x87: // GENERAL AUTHENTICATE
		return "SIGN"
	}
	return ""
}

func newHouse(t *testing.T, change func(*broker.Config)) *house {
	t.Helper()
	h := &house{events: &events{}, dir: t.TempDir()}
	card, err := pivcard.Open(pivcard.Options{Dir: h.dir, Keys: map[pivcard.Slot]pivcard.KeyType{
		pivcard.SlotAuthentication: pivcard.P256, pivcard.SlotCardAuth: pivcard.P256,
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = card.Close() })
	h.reader = virtual.New(virtual.Options{After: func(_ string, command, _ []byte) error {
		if name := commandName(command); name != "" && h.events.add(name) != nil {
			return pcsc.ErrNoAnswer
		}
		return nil
	}})
	if err := h.reader.Insert(virtual.DefaultReader, card); err != nil {
		t.Fatal(err)
	}
	h.start(t, change)
	return h
}

// start puts the parts together and waits for the card.
func (h *house) start(t *testing.T, change func(*broker.Config)) {
	t.Helper()
	options := piv.Options{Extended: true, EmptyVerifySafe: true}
	h.cards = cardowner.New(cardowner.Config{
		System: h.reader,
		Applications: []cardowner.Application{{
			Name: "PIV", Profile: token.Profile{Limit: 10, EmptyVerifySafe: true, PIN: piv.Open(nil, options).PINFormat()},
			Open: func(c pcsc.Card) token.Token { return resetNoted{piv.Open(c, options), h.events} },
		}},
		Idle: time.Second, CommandTimeout: time.Second, Logger: slog.New(slog.DiscardHandler),
		Met: func(context.Context, token.Identity, []token.Key) error { return nil },
	})
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = h.cards.Run(ctx) })
	t.Cleanup(func() { stop(); wg.Wait() })
	var err error
	h.guard, _, err = pinguard.Open(pinguard.Config{FS: journalFS{pinguard.DirFS(t.TempDir()), h.events}, Now: time.Now, Slots: 256})
	if err != nil {
		t.Fatal(err)
	}
	h.log, err = audit.Open(t.Context(), audit.Config{Storage: logStorage{new(audittest.Memory), h.events}, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	h.agent = agent{digits: pivcard.DemoPIN, source: prompt.SourcePrompt}
	h.caller = broker.Caller{UID: 1000, PID: 42, Alive: func() error { return h.alive }}
	cfg := broker.Config{
		Cards: h.cards, Prompter: &h.agent, Register: registered{h.cards}, Guard: h.guard, Log: h.log,
		Now: time.Now, Logger: slog.New(slog.DiscardHandler), PromptTimeout: time.Minute,
	}
	if change != nil {
		change(&cfg)
	}
	h.Broker = broker.New(cfg)
	for {
		_, changed := h.cards.Changed()
		if r := h.cards.Readers(); len(r) > 0 && r[0].Card != nil {
			break
		}
		<-changed
	}
	h.events.take()
}

// resetNoted notes when a card is identified: the first step of each use.
type resetNoted struct {
	token.Token
	e *events
}

func (r resetNoted) Identify(ctx context.Context) (token.Identity, error) {
	_ = r.e.add("IDENTIFY")
	return r.Token.Identify(ctx)
}

func (h *house) card() cardowner.Card { return *h.cards.Readers()[0].Card }

func (h *house) sign(t *testing.T, slot string) (broker.Signature, error) {
	t.Helper()
	for _, k := range h.card().Keys {
		if k.Slot == slot {
			return h.Sign(t.Context(), h.caller, broker.SignRequest{
				Key: k.ID, Algorithm: token.ECDSASHA256, Digest: make([]byte, 32), DocumentName: "文書",
			})
		}
	}
	t.Fatalf("no key in %s", slot)
	return broker.Signature{}, nil
}

func (h *house) left() int {
	return h.guard.Belief(h.card().Identity.Card, token.SecretPIN, 10, token.Tries{}).Left
}

func (h *house) truth(t *testing.T) pivcard.Truth {
	t.Helper()
	truth, err := pivcard.ReadTruth(h.dir)
	if err != nil {
		t.Fatal(err)
	}
	return truth
}

// inOrder checks that names stand in this order; the two halves of a barrier
// ("journal|log") in any.
func inOrder(t *testing.T, got string, want ...string) {
	t.Helper()
	rest := strings.Fields(got)
	for _, step := range want {
		halves := strings.Split(step, "|")
		if len(rest) < len(halves) {
			t.Fatalf("events %q: %q is missing", got, step)
		}
		now := slices.Clone(rest[:len(halves)])
		slices.Sort(now)
		slices.Sort(halves)
		if !slices.Equal(now, halves) {
			t.Fatalf("events %q: want %q where %q is", got, step, now)
		}
		rest = rest[len(halves):]
	}
	if len(rest) > 0 {
		t.Fatalf("events %q: nothing should come after %v", got, want)
	}
}

func TestTheOrderOfASignature(t *testing.T) {
	h := newHouse(t, nil)
	if _, err := h.sign(t, "9a"); err != nil {
		t.Fatal(err)
	}
	inOrder(t, h.events.take(), "IDENTIFY", "journal|log-intent", "VERIFY", "SIGN", "journal|log-result")
	if _, err := h.sign(t, "9e"); err != nil {
		t.Fatal(err)
	}
	inOrder(t, h.events.take(), "IDENTIFY", "journal|log-intent", "SIGN", "journal|log-result")
}

func TestAWrongPINIsDurableBeforeItIsAnswered(t *testing.T) {
	h := newHouse(t, nil)
	h.agent.digits = "000000"
	_, err := h.sign(t, "9a")
	if e, ok := errors.AsType[*token.Error](err); !ok || e.Kind != token.KindPINWrong || e.Meta["tries_left"] != "9" {
		t.Fatalf("Sign: %v, want PIN_WRONG and 9 left", err)
	}
	inOrder(t, h.events.take(), "IDENTIFY", "journal|log-intent", "VERIFY", "journal|log-result")
}

func TestNothingIsSentOrReleasedWithoutItsRecord(t *testing.T) {
	tests := map[string]struct {
		fail              string
		verifies, results int
	}{
		"the debit cannot be written":  {"journal", 0, 0},
		"the intent cannot be written": {"log-intent", 0, 0},
		"the result cannot be written": {"log-result", 1, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, nil)
			h.events.fail = tt.fail
			sig, err := h.sign(t, "9a")
			kind := token.KindOf(err)
			if sig.Bytes != nil || kind != token.KindAuditUnavailable && kind != token.KindJournalUnavailable {
				t.Errorf("Sign: %v, %v; want nothing released", sig, err)
			}
			h.events.fail = ""
			if _, err := h.sign(t, "9e"); err == nil {
				t.Error("signed after a record could not be written")
			}
			if got := h.truth(t).Verifies; got != tt.verifies {
				t.Errorf("the card saw %d VERIFYs, want %d", got, tt.verifies)
			}
		})
	}
}

func TestALostAnswerSpendsTheTryAndNothingIsSentAgain(t *testing.T) {
	h := newHouse(t, nil)
	h.events.fail = "VERIFY"
	_, err := h.sign(t, "9a")
	if token.KindOf(err) != token.KindPINNoVerdict || h.left() != 9 {
		t.Errorf("Sign: %v, %d left; want PIN_NO_VERDICT and 9", err, h.left())
	}
	if got := h.truth(t).Verifies; got != 1 {
		t.Errorf("the card saw %d VERIFYs, want 1", got)
	}
	h.events.fail = ""
	if _, err := h.sign(t, "9a"); err != nil || h.left() != 10 {
		t.Errorf("the next signature: %v, %d left", err, h.left())
	}
}

func TestACallerThatIsGoneGetsNothing(t *testing.T) {
	for _, moment := range []string{"log-intent", "SIGN", "log-result"} {
		h := newHouse(t, nil)
		h.events.fail, h.events.at = moment, func() { h.alive = errFault }
		sig, err := h.sign(t, "9e")
		if sig.Bytes != nil || token.KindOf(err) != token.KindCallerGone {
			t.Errorf("gone at %s: %v, %v; want CALLER_GONE", moment, sig, err)
		}
	}
	h := newHouse(t, nil)
	h.alive = errFault
	if _, err := h.sign(t, "9a"); token.KindOf(err) != token.KindCallerGone || h.left() != 10 || h.truth(t).Verifies != 0 {
		t.Errorf("gone before the PIN was used: %v, %d left", err, h.left())
	}
}

func TestWhoMayGiveAPIN(t *testing.T) {
	program := func(change func(*broker.Config)) *house {
		h := newHouse(t, change)
		h.agent.source = prompt.SourceProgram
		return h
	}
	spend := func(h *house, n int) {
		for range n {
			a, err := h.guard.Debit(h.card().Identity.Card, token.SecretPIN, 10, token.Tries{}, pinguard.AuditMark{})
			if err != nil {
				t.Fatal(err)
			}
			if err := h.guard.Settle(a, token.VerdictWrong, pinguard.AuditMark{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	h := program(nil)
	if _, err := h.sign(t, "9a"); token.KindOf(err) != token.KindPINSourceRefused {
		t.Errorf("a program, not allowed: %v", err)
	}
	h = program(func(c *broker.Config) { c.ProgramPINs = true })
	if _, err := h.sign(t, "9a"); err != nil {
		t.Errorf("a program, allowed: %v", err)
	}
	spend(h, 7)
	if _, err := h.sign(t, "9a"); token.KindOf(err) != token.KindPINSourceRefused {
		t.Errorf("a program with three tries left: %v", err)
	}
	h.agent.source = prompt.SourcePrompt
	if _, err := h.sign(t, "9a"); err != nil {
		t.Errorf("the trusted prompt with three tries left: %v", err)
	}
	h = program(func(c *broker.Config) { c.Virtual = true })
	spend(h, 9)
	if _, err := h.sign(t, "9a"); err != nil {
		t.Errorf("--virtual lifts the limits: %v", err)
	}
}

func TestTriesSpentElsewhereAreNoticedAndThePersonIsAskedAgain(t *testing.T) {
	h := newHouse(t, nil)
	shown := 0
	h.agent.before = func() {
		if shown++; shown > 1 {
			return
		}
		// Another program enters three wrong PINs while the person types.
		h.elsewhere(t, 3)
	}
	if _, err := h.sign(t, "9a"); err != nil {
		t.Fatal(err)
	}
	if n, _ := h.agent.asked[len(h.agent.asked)-1].Tries.Count(); len(h.agent.asked) != 2 || n != 7 {
		t.Errorf("asked %d times, at last with %d tries; want twice and 7", len(h.agent.asked), n)
	}
	if got := h.events.take(); !strings.Contains(got, "log-event") {
		t.Errorf("events %q: the use elsewhere was not recorded", got)
	}
}

// elsewhere spends tries behind the daemon's back.
func (h *house) elsewhere(t *testing.T, tries int) {
	t.Helper()
	err := h.cards.Use(t.Context(), h.card().Identity.Card, func(ctx context.Context, l cardowner.Lease) error {
		for range tries {
			page := make([]byte, token.PINPageMin)
			copy(page[token.PINHeadroom:], "000000")
			pin, err := token.NewPIN(page, 6, nil)
			if err != nil {
				return err
			}
			if _, err := l.Verify(ctx, pin, token.NewAttempt(h.card().Identity.Card, token.SecretPIN, 1)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAFaultySignatureIsNotReleased(t *testing.T) {
	h := newHouse(t, func(c *broker.Config) { c.Register = otherKey{} })
	sig, err := h.sign(t, "9a")
	if sig.Bytes != nil || token.KindOf(err) != token.KindSignatureCheckFailed {
		t.Errorf("Sign: %v, %v; want SIGNATURE_CHECK_FAILED", sig, err)
	}
}
