package clientfake

import (
	"bytes"
	"context"
	"strconv"

	"google.golang.org/protobuf/proto"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// card is the card and what inkand knows of it; guarded by Server.mu.
type card struct {
	pin                []byte // 123456, or what it was changed to
	tries, unlockTries uint32
	confirm            bool // few tries must be confirmed, as without --virtual
	held, gone         bool
	stop               *inkanpb.Stop
	status             func(*inkanpb.CardStatus) // changes what status shows
}

func newCard() card { return card{pin: []byte("123456"), tries: 10, unlockTries: 10} }

// SetTries sets the PIN tries left and tells watchers.
func (s *Server) SetTries(n uint32) { s.change(func(c *card) { c.tries = n }) }

// SetUnlockTries sets the tries of the unlock code left.
func (s *Server) SetUnlockTries(n uint32) { s.change(func(c *card) { c.unlockTries = n }) }

// ConfirmFewTries makes the last three tries need a typed confirmation, as
// inkand does for a card that is not virtual.
func (s *Server) ConfirmFewTries() { s.change(func(c *card) { c.confirm = true }) }

// Hold makes the card held.
func (s *Server) Hold() { s.change(func(c *card) { c.held = true }) }

// TakeCardOut leaves the card in the register only.
func (s *Server) TakeCardOut() { s.change(func(c *card) { c.gone = true }) }

// PutCardIn puts it back.
func (s *Server) PutCardIn() { s.change(func(c *card) { c.gone = false }) }

// ChangeStatus makes f change what status shows of the card.
func (s *Server) ChangeStatus(f func(*inkanpb.CardStatus)) { s.change(func(c *card) { c.status = f }) }

func (s *Server) change(f func(*card)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.card)
	s.tellLocked()
}

// tellLocked wakes those who watch.
func (s *Server) tellLocked() {
	s.sequence++
	close(s.changed)
	s.changed = make(chan struct{})
}

// Tries returns the PIN tries left.
func (s *Server) Tries() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.card.tries
}

// UnlockTries returns the tries of the unlock code left.
func (s *Server) UnlockTries() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.card.unlockTries
}

// PINIs reports whether the card has this PIN.
func (s *Server) PINIs(pin string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.card.pin) == pin
}

func (s *Server) cardLocked() *inkanpb.CardStatus {
	shown := &inkanpb.CardStatus{
		Id: CardID, Serial: Serial, Application: "PIV", Reader: Reader, State: s.card.state(),
		Pin: s.pinLocked(), UnlockCode: s.unlockLocked(), Virtual: true, Company: Company,
	}
	for _, k := range s.Keys {
		shown.Certificates = append(shown.Certificates, k.Proto.GetCertificate())
	}
	if s.card.status != nil {
		s.card.status(shown)
	}
	return shown
}

func (s *Server) pinLocked() *inkanpb.PinStatus {
	return &inkanpb.PinStatus{TriesLeft: proto.Uint32(s.card.tries), TriesKnown: true, Limit: 10}
}

func (s *Server) unlockLocked() *inkanpb.PinStatus {
	return &inkanpb.PinStatus{TriesLeft: proto.Uint32(s.card.unlockTries), TriesKnown: true, Limit: 10}
}

func (c *card) state() inkanpb.CardState {
	switch {
	case c.stop != nil:
		return inkanpb.CardState_CARD_STATE_STOPPED_HERE
	case c.tries == 0 && c.unlockTries == 0:
		return inkanpb.CardState_CARD_STATE_DEAD
	case c.tries == 0:
		return inkanpb.CardState_CARD_STATE_LOCKED
	case c.held:
		return inkanpb.CardState_CARD_STATE_HELD
	case c.tries <= 3:
		return inkanpb.CardState_CARD_STATE_LOW
	}
	return inkanpb.CardState_CARD_STATE_READY
}

// usable refuses what the state of the card forbids.
func (s *Server) usable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.card.state() {
	case inkanpb.CardState_CARD_STATE_STOPPED_HERE:
		return StatusError(inkanpb.Reason_REASON_CARD_STOPPED_HERE, "card", CardID)
	case inkanpb.CardState_CARD_STATE_DEAD:
		return StatusError(inkanpb.Reason_REASON_CARD_DEAD)
	case inkanpb.CardState_CARD_STATE_LOCKED:
		return StatusError(inkanpb.Reason_REASON_CARD_LOCKED)
	case inkanpb.CardState_CARD_STATE_HELD:
		return StatusError(inkanpb.Reason_REASON_CARD_HELD, "detail", "three tries without a verdict", "tries_left", strconv.Itoa(int(s.card.tries)))
	default:
		return nil
	}
}

// confirmation is what must be typed when only so many tries are left.
func (s *Server) confirmation(tries uint32, reason inkanpb.ConfirmationReason) (string, inkanpb.ConfirmationReason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.card.confirm || tries > 3 {
		return "", 0
	}
	return strconv.Itoa(int(tries)), reason
}

// usePIN asks for the PIN and counts the try.
func (s *Server) usePIN(ctx context.Context, q question) error {
	pin, err := s.askPIN(ctx, q)
	if err != nil {
		return err
	}
	return s.judge(pin)
}

func (s *Server) askPIN(ctx context.Context, q question) ([]byte, error) {
	if err := s.usable(); err != nil {
		return nil, err
	}
	q.secret = inkanpb.SecretKind_SECRET_KIND_PIN
	q.confirmation, q.confirmationType = s.confirmation(s.Tries(), inkanpb.ConfirmationReason_CONFIRMATION_REASON_FEW_TRIES)
	got, err := s.ask(ctx, q)
	return got.pin, err
}

// judge is the card's VERIFY. It leaves no copy of the PIN.
func (s *Server) judge(pin []byte) error {
	defer clear(pin)
	if len(pin) < 6 || len(pin) > 8 {
		return StatusError(inkanpb.Reason_REASON_PIN_MALFORMED, "detail", "it must have 6 to 8 characters")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.tellLocked()
	if bytes.Equal(pin, s.card.pin) {
		s.card.tries = 10
		return nil
	}
	s.card.tries--
	if s.card.tries == 0 {
		return StatusError(inkanpb.Reason_REASON_CARD_LOCKED)
	}
	return StatusError(inkanpb.Reason_REASON_PIN_WRONG, "tries_left", strconv.Itoa(int(s.card.tries)))
}

// askNewPIN asks twice.
func (s *Server) askNewPIN(ctx context.Context, purpose string) ([]byte, error) {
	first, err := s.ask(ctx, question{secret: inkanpb.SecretKind_SECRET_KIND_NEW_PIN, purpose: purpose})
	if err != nil {
		return nil, err
	}
	again, err := s.ask(ctx, question{secret: inkanpb.SecretKind_SECRET_KIND_NEW_PIN_AGAIN, purpose: purpose})
	switch {
	case err != nil:
		return nil, err
	case !bytes.Equal(first.pin, again.pin):
		return nil, StatusError(inkanpb.Reason_REASON_NEW_PINS_DIFFER)
	case len(first.pin) < 6 || len(first.pin) > 8:
		return nil, StatusError(inkanpb.Reason_REASON_NEW_PIN_REFUSED, "detail", "it must have 6 to 8 characters")
	}
	return first.pin, nil
}

// here refuses a card that is not in the reader.
func (s *Server) here(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id != CardID || s.card.gone {
		return StatusError(inkanpb.Reason_REASON_CARD_NOT_FOUND, "card", id)
	}
	return nil
}

// VerifyPin implements CardService.
func (s *Server) VerifyPin(ctx context.Context, q *inkanpb.VerifyPinRequest) (*inkanpb.VerifyPinResponse, error) {
	if err := s.here(q.GetCardId()); err != nil {
		return nil, err
	}
	if err := s.usePIN(ctx, question{purpose: "verify"}); err != nil {
		return nil, err
	}
	s.done("verify", "")
	s.mu.Lock()
	defer s.mu.Unlock()
	return &inkanpb.VerifyPinResponse{Pin: s.pinLocked()}, nil
}

// ChangePin implements CardService.
func (s *Server) ChangePin(ctx context.Context, q *inkanpb.ChangePinRequest) (*inkanpb.ChangePinResponse, error) {
	if err := s.here(q.GetCardId()); err != nil {
		return nil, err
	}
	old, err := s.askPIN(ctx, question{purpose: "change-pin"})
	if err != nil {
		return nil, err
	}
	fresh, err := s.askNewPIN(ctx, "change-pin")
	if err != nil {
		return nil, err
	}
	if bytes.Equal(old, fresh) {
		return nil, StatusError(inkanpb.Reason_REASON_NEW_PIN_REFUSED, "detail", "it is the old one")
	}
	if err := s.judge(old); err != nil {
		return nil, err
	}
	s.change(func(c *card) { c.pin = fresh })
	s.done("change-pin", "")
	s.mu.Lock()
	defer s.mu.Unlock()
	return &inkanpb.ChangePinResponse{Pin: s.pinLocked()}, nil
}

// Unlock implements CardService. Its code is 12345678, a known default.
func (s *Server) Unlock(ctx context.Context, q *inkanpb.UnlockRequest) (*inkanpb.UnlockResponse, error) {
	if err := s.here(q.GetCardId()); err != nil {
		return nil, err
	}
	left := s.UnlockTries()
	if left == 0 {
		return nil, StatusError(inkanpb.Reason_REASON_CARD_DEAD)
	}
	ask := question{secret: inkanpb.SecretKind_SECRET_KIND_UNLOCK_CODE, purpose: "unlock"}
	ask.confirmation, ask.confirmationType = s.confirmation(left, inkanpb.ConfirmationReason_CONFIRMATION_REASON_REISSUE)
	code, err := s.ask(ctx, ask)
	if err != nil {
		return nil, err
	}
	fresh, err := s.askNewPIN(ctx, "unlock")
	if err != nil {
		return nil, err
	}
	if string(code.pin) != "12345678" {
		s.SetUnlockTries(left - 1)
		return nil, StatusError(inkanpb.Reason_REASON_UNLOCK_CODE_WRONG, "tries_left", strconv.Itoa(int(left-1)))
	}
	s.change(func(c *card) { c.pin, c.tries, c.unlockTries = fresh, 10, 10 })
	s.done("unlock", "")
	s.mu.Lock()
	defer s.mu.Unlock()
	return &inkanpb.UnlockResponse{Pin: s.pinLocked(), UnlockCode: s.unlockLocked(), Warnings: []string{"INK-6002"}}, nil
}

// done keeps the record of a success and returns its number.
func (s *Server) done(operation, detail string) uint64 {
	return s.record(&inkanpb.Record{Kind: inkanpb.RecordKind_RECORD_KIND_RESULT, Operation: operation, Outcome: "OK", Detail: detail})
}
