package pcscdtest_test

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/daemon"
	"github.com/inkan-project/inkan/daemon/daemontest"
	"github.com/inkan-project/inkan/pcsc/pcsctest"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// knows is what a person types; wrong is another wrong PIN each time.
type knows struct {
	pin, code, fresh string
	wrong            bool
}

// person types what it knows, and what is to be confirmed.
type person struct {
	mu    sync.Mutex // guards all below
	known knows
	given int
}

// tell says what to type from now on.
func (p *person) tell(k knows) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known = k
}

// PIN implements client.PINSource.
func (p *person) PIN(_ context.Context, _ client.Prompt, buf []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known.wrong {
		p.given++
		return copy(buf, fmt.Sprintf("7%05d", p.given)), nil
	}
	return copy(buf, p.known.pin), nil
}

// Secret implements client.SecretSource.
func (p *person) Secret(_ context.Context, q client.Prompt, buf []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if q.Secret == inkanpb.SecretKind_SECRET_KIND_UNLOCK_CODE {
		return copy(buf, p.known.code), nil
	}
	return copy(buf, p.known.fresh), nil
}

// Confirm implements client.Confirmer.
func (p *person) Confirm(_ context.Context, q client.Prompt) (string, error) {
	return q.Confirmation, nil
}

// Secrets that a card gets here; its first ones are those of pivcard.
const (
	secondPIN = "918273"
	thirdPIN  = "73519284"
	wrongCode = "87654321"
)

// variant is a kind of card, what an administrator's card profile says of it,
// and how many wrong PINs inkand lets through.
type variant struct {
	name    string
	profile string
	wrong   int
	unlocks int // tries of the unlock code
}

// variants are all kinds of card of pivcard.
func variants() []variant {
	return []variant{
		{"piv", "limit = 10\nempty_verify_safe = true", 10, 10},
		{"limit-3", "limit = 3\nempty_verify_safe = true", 3, 3},
		{"limit-5", "limit = 5\nempty_verify_safe = true", 5, 5},
		{"limit-15", "limit = 15\nempty_verify_safe = true", 10, 10},
		{"last-blocked", "limit = 10\nempty_verify_safe = true", 10, 10},
		{"never-6983", "limit = 10\nempty_verify_safe = true\nwords.blocked = [\"63C0\"]", 10, 10},
		{"no-count", "limit = 10\nwords.wrong = [\"6982\"]", 10, 10},
		{"cac", "limit = 10\nempty_verify_safe = true\nwords.wrong = [\"6985\"]", 10, 10},
		{"empty-verify-burns", "limit = 10", 10, 10},
		{"wrong-6300", "limit = 10\nwords.wrong = [\"6300\"]", 10, 10},
		{"wrong-630x", "limit = 10\nempty_verify_safe = true\nwords.counted = [\"630x\"]", 10, 10},
		{"pieces", "limit = 10\nempty_verify_safe = true\nextended_length = true", 10, 10},
		{"t0", "limit = 10\nempty_verify_safe = true", 10, 10},
		{"exact-le", "limit = 10\nempty_verify_safe = true\nextended_length = true", 10, 10},
		{"slow", "limit = 10\nempty_verify_safe = true", 10, 10},
	}
}

// make makes a card of this kind, and its card profile in a folder.
func (v variant) make(t *testing.T, profiles string) card {
	t.Helper()
	behaviour, ok := pivcard.Variant(v.name)
	if !ok {
		t.Fatalf("no variant %s", v.name)
	}
	dir := t.TempDir()
	c, err := pivcard.Open(pivcard.Options{Dir: dir, Behaviour: behaviour, Keys: map[pivcard.Slot]pivcard.KeyType{pivcard.SlotAuthentication: pivcard.P256}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	text := fmt.Sprintf("name = %q\napplication = \"PIV\"\ncards = [%q]\nunlock_limit = %d\n%s\n"+
		"[pin]\nmin_length = 6\nmax_length = 8\ncharset = \"digits\"\npad_to = 8\npad_byte = 0xFF\n"+
		"[unlock_code]\nmin_length = 6\nmax_length = 8\ncharset = \"printable ASCII and spaces\"\npad_to = 8\npad_byte = 0xFF\n",
		v.name, "piv-"+hex.EncodeToString(c.GUID()), v.unlocks, v.profile)
	write(t, profiles, v.name+".toml", []byte(text))
	return card{c, dir}
}

func TestEachKindOfCardIsChangedLockedAndUnlockedBehindPCSCD(t *testing.T) {
	profiles, cards := t.TempDir(), map[string]card{}
	for _, v := range variants() {
		cards[v.name] = v.make(t, profiles)
	}
	for _, name := range pivcard.Variants() {
		if _, ok := cards[name]; !ok {
			t.Errorf("variant %s has no card profile here", name)
		}
	}
	b := &bench{t: t, pcscd: pcsctest.Start(t, pcsctest.Options{})}
	short := shortTimes(t, "10s")
	b.Daemon = daemontest.Start(t, daemontest.Options{PCSCD: true, Config: func(c *daemon.Config) {
		short(c)
		c.Card.Profiles = profiles
	}})
	p := &person{}
	looker := b.Client(nil)
	c := b.Client(p) // one for all: a user has few connections for PINs
	for _, v := range variants() {
		if v.name == "slow" && os.Getenv("TIER") != "n" {
			continue // as piv, but it takes its time
		}
		t.Run(v.name, func(t *testing.T) {
			h := &holder{b: b, person: p, client: c, looker: looker, t: t, variant: v, card: cards[v.name], reader: b.pcscd.Reader("Inkan Test")}
			defer func() {
				h.reader.Remove()
				b.cards(0)
			}()
			h.insert()
			h.change()
			h.lock()
			h.unlock()
			if v.name == "piv" {
				h.yubico()
			}
		})
	}
}

// holder is the person to whom a card belongs.
type holder struct {
	b       *bench
	t       *testing.T
	person  *person
	client  *client.Client
	variant variant
	card    card
	reader  *pcsctest.Reader
	id      string
	slot    string // of the key in 9A, as inkand calls it

	looker    *client.Client // gives no PINs
	read      uint64         // sequence of the newest record that was counted
	debits    int            // recorded
	elsewhere int            // VERIFYs of another program
}

func (h *holder) insert() {
	h.t.Helper()
	h.reader.Insert(h.card)
	h.id = h.b.awaitCard(in(h.reader)).GetId()
}

// typing returns a client for one call, whose person types this.
func (h *holder) typing(k knows) *client.Client {
	h.person.tell(k)
	return h.client
}

// verify proves a PIN and wants this error.
func (h *holder) verify(k knows, want error) {
	h.t.Helper()
	_, err := h.typing(k).VerifyPIN(h.t.Context(), h.id)
	if !errors.Is(err, want) {
		h.t.Fatalf("VerifyPIN: %v, want %v", err, want)
	}
	h.agree("VerifyPIN")
}

// agree checks what must be so after each step: the card saw no more tries than
// were recorded before, and no more are shown than it has.
func (h *holder) agree(step string) {
	h.t.Helper()
	truth := h.card.truth(h.t)
	h.readLog()
	if seen := truth.Verifies + truth.Changes + truth.UnlockVerifies - h.elsewhere; seen > h.debits {
		h.t.Errorf("%s: the card saw %d secrets, but only %d tries were recorded", step, seen, h.debits)
	}
	shown := h.b.awaitCard(in(h.reader))
	if pin := shown.GetPin(); int(pin.GetTriesLeft()) > truth.PINLeft {
		h.t.Errorf("%s: %d tries of the PIN shown, the card has %d", step, pin.GetTriesLeft(), truth.PINLeft)
	}
	if code := shown.GetUnlockCode(); int(code.GetTriesLeft()) > truth.UnlockLeft {
		h.t.Errorf("%s: %d tries of the unlock code shown, the card has %d", step, code.GetTriesLeft(), truth.UnlockLeft)
	}
}

// readLog counts the tries that were recorded since it was last called.
func (h *holder) readLog() {
	h.t.Helper()
	newest, err := h.looker.LastRecords(h.t.Context(), 50)
	if err != nil {
		h.t.Fatal(err)
	}
	if newest[0].GetSequence() > h.read+1 && h.read > 0 {
		h.t.Fatalf("the log went on from %d to %d without being read", h.read, newest[0].GetSequence())
	}
	for _, rec := range newest {
		if rec.GetSequence() > h.read && rec.GetCardId() == h.id && isDebit(rec) {
			h.debits++
		}
	}
	h.read = newest[len(newest)-1].GetSequence()
}

// change gives the card a new PIN: it works, and the old one does not.
func (h *holder) change() {
	h.t.Helper()
	if _, err := h.typing(knows{pin: pivcard.DemoPIN, fresh: secondPIN}).ChangePIN(h.t.Context(), h.id); err != nil {
		h.t.Fatalf("ChangePIN: %v", err)
	}
	h.agree("ChangePIN")
	h.verify(knows{pin: pivcard.DemoPIN}, client.ErrPINWrong)
	h.verify(knows{pin: secondPIN}, nil)
	if truth := h.card.truth(h.t); truth.Verifies != 2 || truth.Changes != 1 || truth.Replaced != 1 {
		h.t.Errorf("the card saw %d VERIFYs and %d changes, %d of them right; want 2, 1 and 1", truth.Verifies, truth.Changes, truth.Replaced)
	}
}

// lock gives wrong PINs until inkand lets no more through: the right one is of
// no use then.
func (h *holder) lock() {
	h.t.Helper()
	before := h.card.truth(h.t).Verifies
	gates := 0
	for locked := false; !locked; {
		_, err := h.typing(knows{wrong: true}).VerifyPIN(h.t.Context(), h.id)
		h.agree("a wrong PIN")
		switch {
		case errors.Is(err, client.ErrReinsertNeeded):
			gates++
			h.openGate(gates)
		case errors.Is(err, client.ErrCardLocked):
			locked = true
		case !errors.Is(err, client.ErrPINWrong):
			h.t.Fatalf("a wrong PIN: %v", err)
		}
	}
	if got := h.card.truth(h.t).Verifies - before; got != h.variant.wrong {
		h.t.Errorf("the card saw %d wrong PINs, want %d", got, h.variant.wrong)
	}
	if want := (h.variant.wrong - 1) / 2; gates < want-1 || gates == 0 {
		h.t.Errorf("%d times more than two wrong PINs were given for one insertion, want %d", h.variant.wrong, want)
	}
	before = h.card.truth(h.t).Verifies
	h.verify(knows{pin: secondPIN}, client.ErrCardLocked)
	if got := h.card.truth(h.t).Verifies - before; got != 0 {
		h.t.Errorf("the card saw %d VERIFYs while it was locked, want none", got)
	}
}

// openGate inserts the card again, as the holder does. After the first time an
// administrator's word takes less time, where the test has one.
func (h *holder) openGate(number int) {
	h.t.Helper()
	if number > 1 && os.Geteuid() == 0 {
		if _, err := h.b.Client(nil).Acknowledge(h.t.Context(), h.id, "the holder is here"); err != nil {
			h.t.Fatalf("Acknowledge: %v", err)
		}
		return
	}
	h.reader.Remove()
	h.b.cards(0)
	h.insert()
}

// unlock gives a wrong unlock code, then the right one.
func (h *holder) unlock() {
	h.t.Helper()
	if _, err := h.typing(knows{code: wrongCode, fresh: thirdPIN}).Unlock(h.t.Context(), h.id); !errors.Is(err, client.ErrUnlockCodeWrong) {
		h.t.Fatalf("Unlock with a wrong code: %v", err)
	}
	h.agree("a wrong unlock code")
	if _, err := h.typing(knows{code: pivcard.DemoUnlockCode, fresh: thirdPIN}).Unlock(h.t.Context(), h.id); err != nil {
		h.t.Fatalf("Unlock: %v", err)
	}
	h.agree("Unlock")
	h.verify(knows{pin: thirdPIN}, nil)
	if truth := h.card.truth(h.t); truth.UnlockVerifies != 2 || truth.Replaced != 2 {
		h.t.Errorf("the card saw %d unlock codes and replaced %d secrets, want 2 and 2", truth.UnlockVerifies, truth.Replaced)
	}
	key := h.b.key(h.id, cmp.Or(h.slot, "9a"))
	if _, err := sign(h.t.Context(), h.typing(knows{pin: thirdPIN}), key, inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256); err != nil {
		h.t.Errorf("Sign with the PIN that the unlock gave: %v", err)
	}
}

// yubico asks another program what the PIN is now, and how many tries are left.
func (h *holder) yubico() {
	h.t.Helper()
	h.b.toolSays("Successfully verified PIN", thirdPIN+"\n", "-a", "verify-pin")
	h.b.toolSays("9 tries left", secondPIN+"\n", "-a", "verify-pin")
	h.elsewhere = 2
	h.verify(knows{pin: pivcard.DemoPIN}, client.ErrPINWrong)
	h.b.toolSays("PIN tries left:\t8", "", "-a", "status")
	if left := h.b.awaitCard(in(h.reader)).GetPin().GetTriesLeft(); left != 8 {
		h.t.Errorf("%d tries shown after one wrong PIN here and one elsewhere, want 8", left)
	}
	h.verify(knows{pin: thirdPIN}, nil)
	h.b.toolSays("PIN tries left:\t10", "", "-a", "status")
}
