package broker_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/audit/audittest"
	"github.com/inkan-project/inkan/daemon/internal/broker"
	"github.com/inkan-project/inkan/daemon/internal/cardowner"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/daemon/internal/prompt"
	"github.com/inkan-project/inkan/daemon/internal/register"
	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/pcsc/virtual"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/cardprofile"
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
	e.all = append(e.all, name)
	fail, at := e.fail, e.at
	e.mu.Unlock()
	if fail != name {
		return nil
	}
	if at != nil {
		at()
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

func (s logStorage) Append(ctx context.Context, rows ...audit.Row) error {
	if err := s.Storage.Append(ctx, rows...); err != nil {
		return err
	}
	var failed error
	for _, row := range rows {
		failed = errors.Join(failed, s.e.add("log-"+string(row.Kind)))
	}
	return failed
}

// house is a broker on a virtual card, with everything noted.
type house struct {
	uptime atomic.Int64 // what the guard's clock says
	waits  bool         // the guard has the time of the test, so that waits are real
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
	next   []string // new PINs, in the order they are asked for
	typed  *string  // to confirm; nil = what the prompt asks for
	asked  []prompt.Request
	before func()
	fail   error // instead of an answer
}

func (a *agent) Ask(_ context.Context, req prompt.Request) (prompt.Answer, error) {
	a.asked = append(a.asked, req)
	if a.before != nil {
		a.before()
	}
	if a.fail != nil {
		return prompt.Answer{}, a.fail
	}
	answer := prompt.Answer{Source: a.source, Confirmation: req.Confirmation}
	if a.typed != nil {
		answer.Confirmation = *a.typed
	}
	digits := a.digits
	switch req.Ask {
	case prompt.AskNothing:
		return answer, nil
	case prompt.AskNewPIN, prompt.AskNewAgain:
		digits, a.next = a.next[0], a.next[1:]
	case prompt.AskPIN, prompt.AskUnlockCode:
	}
	var err error
	answer.PIN, err = newPIN(digits)
	return answer, err
}

func newPIN(digits string) (*token.PIN, error) {
	page := make([]byte, token.PINPageMin)
	copy(page[token.PINHeadroom:], digits)
	return token.NewPIN(page, len(digits), nil)
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

func (r registered) Cards(context.Context) ([]register.Card, error) {
	var all []register.Card
	for _, reader := range r.cards.Readers() {
		if c := reader.Card; c != nil {
			all = append(all, register.Card{ID: c.Identity.Card, Serial: c.Serial, Application: c.Application})
		}
	}
	return all, nil
}

// wrongPINs remembers, as the real one does in locked memory.
type wrongPINs map[string]bool

func (w wrongPINs) key(card token.CardID, secret token.Secret, pin *token.PIN) string {
	b, _ := pin.Command(nil, 0, 0)
	return fmt.Sprintf("%s %d %x", card, secret, b)
}

func (w wrongPINs) Has(card token.CardID, secret token.Secret, pin *token.PIN) bool {
	return w[w.key(card, secret, pin)]
}

func (w wrongPINs) Add(card token.CardID, secret token.Secret, pin *token.PIN) {
	w[w.key(card, secret, pin)] = true
}

func (w wrongPINs) Forget(card token.CardID, secret token.Secret) {
	maps.DeleteFunc(w, func(key string, _ bool) bool {
		return strings.HasPrefix(key, fmt.Sprintf("%s %d ", card, secret))
	})
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

// secondReader is empty at first, and comes after the other by its name.
const secondReader = virtual.DefaultReader + " second"

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
	h.reader = virtual.New(virtual.Options{Readers: []string{virtual.DefaultReader, secondReader}, After: func(_ string, command, _ []byte) error {
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
	profiles, err := cardprofile.Shipped()
	if err != nil {
		t.Fatal(err)
	}
	h.cards = cardowner.New(cardowner.Config{
		System: h.reader,
		Applications: []cardowner.Application{{
			Name:    "PIV",
			Profile: func(atr []byte, card token.CardID) token.Profile { return profiles.For("PIV", atr, card) },
			Open: func(c cardowner.Connection, p token.Profile) token.Token {
				return resetNoted{piv.Open(c, piv.FromProfile(p)), h.events}
			},
		}},
		Idle: time.Second, Retry: time.Second, CommandTimeout: time.Second, Logger: slog.New(slog.DiscardHandler),
		Met: func(context.Context, token.Identity, []token.Key) error { return nil },
	})
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = h.cards.Run(ctx) })
	t.Cleanup(func() { stop(); wg.Wait() })
	h.guard, _, err = pinguard.Open(pinguard.Config{FS: journalFS{pinguard.DirFS(t.TempDir()), h.events}, Now: time.Now, Slots: 256, Boot: h.boot})
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
		Cards: h.cards, Prompter: &h.agent, Register: registered{h.cards}, Wrong: wrongPINs{}, Guard: h.guard, Log: h.log,
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

// boot is a clock on which every wait is over at the next look.
func (h *house) boot() pinguard.Boot {
	if h.waits {
		return pinguard.Boot{ID: [16]byte{1}, Since: time.Duration(time.Now().UnixNano())}
	}
	return pinguard.Boot{ID: [16]byte{1}, Since: time.Duration(h.uptime.Add(int64(time.Hour)))}
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
	return h.guard.Belief(pinguard.Account{Card: h.card().Identity.Card, Secret: token.SecretPIN, Limit: 10, OnCard: token.Tries{}}).Left
}

func (h *house) truth(t *testing.T) pivcard.Truth {
	t.Helper()
	truth, err := pivcard.ReadTruth(h.dir)
	if err != nil {
		t.Fatal(err)
	}
	return truth
}

// otherKey is a register that has another public key than the card: to the
// broker, every signature of the card is then faulty.
type otherKey struct{ registered }

func (otherKey) Key(_ context.Context, id token.KeyID) (token.Key, bool, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return token.Key{}, false, err
	}
	key, err := token.NewKey(id.Card(), "9a", "other", private.Public(), nil, token.PINOnce)
	return key, true, err
}
