// Package p11 is a card behind a vendor's PKCS#11 module as a [token.Token].
// The module runs in a process of its own (package module), one for each card
// in use.
//
// It guarantees that C_Login is called once for each redeemed attempt and never
// besides, that nothing a module does (crash, hang, garbage, a flood) reaches
// further than its own card, that a card which comes through PC/SC is identified
// there first, let go with a reset before the module gets it, and reset again
// when it comes back, and that no secret stays in this process. A caller must
// reset the card before and after each transaction and check every signature
// with the public key.
package p11

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/p11/frame"
)

// Module is one PKCS#11 module, as configured.
type Module struct {
	Name        string   // for people
	Path        string   // of the library
	Environment []string // NAME=value: all that it finds, besides PATH and LANG
	Writable    []string // folders that it may write to
	// Own says that its slots are readers of their own. Otherwise its cards are in
	// the readers of PC/SC, and are given up for it.
	Own bool
	// TakesAll says that it gets cards, too, that an application of ours knows.
	TakesAll  bool
	Token     Filter        // which of its tokens are meant
	Profile   string        // name of its card profile, or ""
	Timeout   time.Duration // of one operation
	PINMemory string        // kind of page for secrets (package pinpage)
}

// Filter picks tokens; "" is any.
type Filter struct{ Label, Manufacturer, Model, Serial string }

func (f Filter) fits(t *frame.TokenInfo) bool {
	is := func(want, have string) bool { return want == "" || want == have }
	return is(f.Label, t.Label) && is(f.Manufacturer, t.Manufacturer) && is(f.Model, t.Model) && is(f.Serial, t.Serial)
}

// Options is what a Token needs besides the card.
type Options struct {
	// Direct are the applications that may know the card without the module;
	// they say who it is. Only for a module that takes all cards.
	Direct []func() token.Token
	// Bound returns the card that an identity is known as: one that was seen with
	// this token before, or "". nil = none was.
	Bound func(ctx context.Context, ref string) (token.CardID, error)
	// Within bounds one operation, and says why none may be made any more.
	Within func(ctx context.Context) (context.Context, context.CancelFunc, error)
	// Profile is the card profile, without what the token says.
	Profile token.Profile
}

// Token is the token of one card. It implements [token.Token].
type Token struct {
	card    *Card
	module  *Module
	options Options

	// id is the card that answered to Identify and has not been lost since; empty
	// = no PIN may be given and no key used.
	id         token.CardID
	info       *frame.TokenInfo
	state      uint
	mechanisms []uint
	begun      *work // a signature that was begun, or nil
}

var (
	_ token.Token    = (*Token)(nil)
	_ token.Beginner = (*Token)(nil)
)

// Open returns the Token of a card through a module; it asks nothing.
func Open(card *Card, m *Module, o Options) *Token {
	if o.Within == nil {
		o.Within = func(ctx context.Context) (context.Context, context.CancelFunc, error) {
			return ctx, func() {}, nil
		}
	}
	return &Token{card: card, module: m, options: o}
}

// errNotIdentified is a bug in the caller: nothing was asked.
var errNotIdentified = errors.New("card is not identified in this transaction")

// Identify opens a session with the one token of the module that is in this
// reader. It returns [token.ErrNotMine] where the module has none there.
func (t *Token) Identify(ctx context.Context) (token.Identity, error) {
	t.id, t.begun = "", nil
	direct, err := t.direct(ctx)
	if err != nil {
		return token.Identity{}, err
	}
	err = t.open(ctx)
	if errors.Is(err, token.ErrNotMine) { // it may be somebody else's
		if back := t.back(ctx); back != nil {
			err = back // whoever has the card now kept it from the module, too
		}
	}
	if err != nil {
		return token.Identity{}, err
	}
	bound, err := t.bound(ctx)
	if err == nil && direct.Card != "" && bound == "" {
		err = t.again(ctx, direct)
	}
	if err != nil {
		return token.Identity{}, err
	}
	id, err := t.identity(direct, bound)
	if err != nil {
		return token.Identity{}, err
	}
	t.id = id.Card
	return id, nil
}

// back has PC/SC take the card again, where it came from there.
func (t *Token) back(ctx context.Context) error {
	ctx, cancel, err := t.within(ctx)
	defer cancel()
	if err != nil {
		return err
	}
	return t.card.Reset(ctx)
}

// direct asks the applications that need no module who the card is.
func (t *Token) direct(ctx context.Context) (token.Identity, error) {
	if t.card.Slot() != nil || len(t.options.Direct) == 0 {
		return token.Identity{}, nil
	}
	if !t.card.isDirect() { // asked once more: the module has the card
		if err := t.back(ctx); err != nil {
			return token.Identity{}, err
		}
	}
	for _, open := range t.options.Direct {
		id, err := open().Identify(ctx)
		if errors.Is(err, token.ErrNotMine) {
			continue
		}
		return id, err
	}
	return token.Identity{}, nil
}

// open opens the session in which all else happens.
func (t *Token) open(ctx context.Context) error {
	ctx, cancel, err := t.within(ctx)
	defer cancel()
	if err != nil {
		return err
	}
	slot, err := t.card.enter(ctx, t.module)
	if err != nil {
		return err
	}
	answer, err := t.card.ask(ctx, frame.Request{Op: frame.OpOpen, Slot: slot})
	if err != nil || !answer.OK() {
		return t.fault("opening a session", answer, err)
	}
	if answer.Token == nil {
		return token.Errorf(token.KindModuleFault, "it does not say which token it has").With("module", t.module.Name)
	}
	t.info, t.state, t.mechanisms = answer.Token, answer.State, answer.Mechanisms
	switch {
	case t.info.Flags&flagOwnKeypad != 0:
		return token.NewError(token.KindKeypadNeeded)
	case !isPrintable(t.info.Serial + t.info.Model + t.info.Manufacturer):
		return token.Errorf(token.KindCardFault, "its serial number cannot be read")
	}
	return nil
}

// bound returns the card that this token was seen as before, or "".
func (t *Token) bound(ctx context.Context) (token.CardID, error) {
	if t.options.Bound == nil {
		return "", nil
	}
	return t.options.Bound(ctx, t.ref())
}

// again goes both ways to the card once more before they are taken for ways to
// one card: it may have been swapped while it changed hands.
func (t *Token) again(ctx context.Context, first token.Identity) error {
	ref := t.ref()
	second, err := t.direct(ctx)
	if err == nil {
		err = t.open(ctx)
	}
	if errors.Is(err, token.ErrNotMine) || err == nil && (second.Card != first.Card || t.ref() != ref) {
		return token.NewError(token.KindCardChanged)
	}
	return err
}

// identity says who the card is: what an application of ours has read from it,
// else what this token was known as before, else what the token says of itself.
func (t *Token) identity(direct token.Identity, bound token.CardID) (token.Identity, error) {
	ref := t.ref()
	id := token.Identity{
		Card: bound, Serial: t.info.Serial, Application: Application, Token: ref,
		Virtual: isSoftware(t.info),
	}
	switch {
	case direct.Card != "" && bound != "" && direct.Card != bound:
		return token.Identity{}, token.NewError(token.KindCardChanged).
			Because(fmt.Errorf("the module's token %q belongs to card %s, in the reader is %s", ref, bound, direct.Card))
	case direct.Card != "":
		id.Card, id.Serial, id.Virtual = direct.Card, direct.Serial, direct.Virtual
	case bound == "":
		sum := sha256.Sum256([]byte(ref))
		id.Card = token.CardID("p11-" + hex.EncodeToString(sum[:16]))
	}
	return id, nil
}

// Application is the name of what a module knows, in profiles and status.
const Application = "PKCS#11"

// ref is what a token says of itself: manufacturer, model and serial number,
// which together are the same for the same token only (PKCS#11 v3.1 section
// 3.2).
func (t *Token) ref() string { return refOf(t.info) }

func refOf(t *frame.TokenInfo) string {
	return strings.Join([]string{t.Manufacturer, t.Model, t.Serial}, "/")
}

// isSoftware reports a token that is known to be a file.
func isSoftware(t *frame.TokenInfo) bool { return strings.HasPrefix(t.Manufacturer, "SoftHSM") }

func isPrintable(s string) bool { return !strings.ContainsRune(s, '\uFFFD') }

// Profile returns the card profile with the lengths of a PIN that the token
// wants. Of an unlock code it says none.
func (t *Token) Profile() token.Profile {
	p := t.options.Profile
	if t.info == nil {
		return p
	}
	shortest := max(p.PIN.MinLength, int(min(t.info.MinPIN, token.PINCapacity)))
	longest := min(p.PIN.MaxLength, int(min(t.info.MaxPIN, token.PINCapacity)))
	if shortest <= longest { // else it says nothing that can be so
		p.PIN.MinLength, p.PIN.MaxLength = shortest, longest
	}
	return p
}

// within bounds one operation by the module's time as well.
func (t *Token) within(ctx context.Context) (context.Context, context.CancelFunc, error) {
	ctx, cancel, err := t.options.Within(ctx)
	if err != nil {
		return ctx, cancel, err
	}
	if t.module.Timeout <= 0 {
		return ctx, cancel, nil
	}
	ctx, stop := context.WithTimeout(ctx, t.module.Timeout)
	return ctx, func() { stop(); cancel() }, nil
}

// ask asks for one operation of the session.
func (t *Token) ask(ctx context.Context, req frame.Request, secrets ...*token.PIN) (frame.Answer, error) {
	ctx, cancel, err := t.within(ctx)
	defer cancel()
	if err != nil {
		return frame.Answer{}, err
	}
	answer, err := t.card.ask(ctx, req, secrets...)
	if err != nil || answer.RV != ckrOK && meaningOf(answer.RV).lost {
		t.id = "" // nothing more before it is identified again
	}
	if answer.Token != nil {
		if refOf(answer.Token) != t.ref() {
			t.id = "" // it is another one now
		}
		t.info = answer.Token
	}
	return answer, err
}
