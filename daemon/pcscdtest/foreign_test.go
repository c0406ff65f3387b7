package pcscdtest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// Commands of another program (SP 800-73-5 part 2 sections 3.1.1, 3.2.1 and
// 3.2.4).
var (
	selectPIV  = []byte{0x00, 0xA4, 0x04, 0x00, 0x05, 0xA0, 0x00, 0x00, 0x03, 0x08}
	askVerify  = []byte{0x00, 0x20, 0x00, 0x80}
	verifyPIN  = append([]byte{0x00, 0x20, 0x00, 0x80, 0x08}, pivcard.DemoPIN+"\xFF\xFF"...)
	signWith9A = slices.Concat(
		[]byte{0x00, 0x87, 0x11, 0x9A, 0x26, 0x7C, 0x24, 0x82, 0x00, 0x81, 0x20}, make([]byte, 32), []byte{0x00},
	)
)

// other is another PC/SC program. It takes the card once inkand has let it go.
func (b *bench) other(use func(func(command []byte) string)) {
	b.t.Helper()
	service := pcsc.NewService(pcsc.Config{})
	defer service.Close()
	ctx, cancel := context.WithTimeout(b.t.Context(), hangs)
	defer cancel()
	card, err := pcsc.Card(nil), pcsc.ErrSharing
	for tick := time.NewTicker(10 * time.Millisecond); errors.Is(err, pcsc.ErrSharing); {
		select {
		case <-tick.C:
			card, err = service.Connect(ctx, b.pcscd.Reader("Inkan Test").Name)
		case <-ctx.Done():
			b.t.Fatal("inkand never let the card go")
		}
	}
	if err != nil {
		b.t.Fatal(err)
	}
	use(func(command []byte) string {
		answer, err := card.Transmit(ctx, command)
		if err != nil || len(answer) < 2 {
			b.t.Fatalf("the card answers % X, %v", answer, err)
		}
		return fmt.Sprintf("%X", answer[len(answer)-2:])
	})
	if err := card.Disconnect(pcsc.Leave); err != nil {
		b.t.Fatal(err)
	}
}

// says checks what the card answers.
func (b *bench) says(what, got, want string) {
	b.t.Helper()
	if got != want {
		b.t.Errorf("%s: the card answers %s, want %s", what, got, want)
	}
}

// TestACardThatAnotherProgramUnlockedTakesNoWrongPIN is T13 of the security
// model.
func TestACardThatAnotherProgramUnlockedTakesNoWrongPIN(t *testing.T) {
	b := newBench(t)
	c := newCard(t, nil)
	b.pcscd.Reader("Inkan Test").Insert(c)
	id := b.cards(1)[0].GetId()
	p := &person{}
	inkan := b.Client(p)
	wrong := func(pin string) {
		t.Helper()
		p.tell(knows{pin: pin})
		if _, err := inkan.VerifyPIN(t.Context(), id); !errors.Is(err, client.ErrPINWrong) {
			t.Errorf("a wrong PIN on a card that was unlocked: %v, want PIN_WRONG", err)
		}
	}
	b.other(func(send func([]byte) string) {
		b.says("SELECT", send(selectPIV), "9000")
		b.says("VERIFY", send(verifyPIN), "9000")
	})
	b.other(func(send func([]byte) string) { b.says("asked for the PIN", send(askVerify), "9000") }) // it stayed so
	wrong("700001")
	if out := b.tool("pkcs15-tool", "--verify-pin", "--pin", pivcard.DemoPIN); !strings.Contains(out, "Using reader") {
		t.Errorf("pkcs15-tool says %q", out)
	}
	if left := c.truth(t).PINLeft; left != 10 {
		t.Errorf("the card has %d tries after pkcs15-tool gave the right PIN, want 10", left)
	}
	wrong("700002")
	if truth := c.truth(t); truth.Verifies != 4 || truth.PINLeft != 9 {
		t.Errorf("the card saw %d VERIFYs and has %d tries left, want 4 and 9", truth.Verifies, truth.PINLeft)
	}
}

// TestNobodyElseSignsWithThePINThatWasEnteredForUs is T12 of the security model.
func TestNobodyElseSignsWithThePINThatWasEnteredForUs(t *testing.T) {
	b := newBench(t)
	c := newCard(t, nil)
	b.pcscd.Reader("Inkan Test").Insert(c)
	key := b.key(b.cards(1)[0].GetId(), "9a")
	if _, err := sign(t.Context(), b.Client(rightPIN), key, inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256); err != nil {
		t.Fatal(err)
	}
	b.other(func(send func([]byte) string) {
		b.says("asked for the PIN", send(askVerify), "6986") // no application is selected (ISO/IEC 7816-4 section 5.6: no current EF)
		b.says("SELECT", send(selectPIV), "9000")
		b.says("GENERAL AUTHENTICATE after our signature", send(signWith9A), "6982")
		b.says("VERIFY", send(verifyPIN), "9000")
		b.says("GENERAL AUTHENTICATE after its own VERIFY", send(signWith9A), "9000") // the command is right
	})
	if n := len(c.truth(t).Signatures); n != 2 {
		t.Errorf("the card made %d signatures, want ours and the other's own", n)
	}
}

// TestADefaultUnlockCodeIsNotTriedButReported is T46 of the security model.
func TestADefaultUnlockCodeIsNotTriedButReported(t *testing.T) {
	b := newBench(t)
	c := newCard(t, nil)
	b.pcscd.Reader("Inkan Test").Insert(c)
	id := b.cards(1)[0].GetId()
	p := &person{known: knows{pin: pivcard.DemoPIN, code: pivcard.DemoUnlockCode, fresh: secondPIN}}
	inkan := b.Client(p)
	if _, err := sign(t.Context(), inkan, b.key(id, "9a"), inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256); err != nil {
		t.Fatal(err)
	}
	if _, err := inkan.Diagnose(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := inkan.ChangePIN(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if _, err := inkan.VerifyPIN(t.Context(), id); !errors.Is(err, client.ErrPINWrong) {
		t.Fatalf("the old PIN: %v", err)
	}
	if truth := c.truth(t); truth.UnlockVerifies != 0 || truth.UnlockLeft != 10 {
		t.Errorf("the card saw %d unlock codes before the holder gave one, and has %d tries left", truth.UnlockVerifies, truth.UnlockLeft)
	}
	p.tell(knows{code: pivcard.DemoUnlockCode, fresh: thirdPIN})
	done, err := inkan.Unlock(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(done.Warnings, []string{"INK-6002"}) {
		t.Errorf("warnings %v, want INK-6002: everybody knows this unlock code", done.Warnings)
	}
	if truth := c.truth(t); truth.UnlockVerifies != 1 {
		t.Errorf("the card saw %d unlock codes, want one", truth.UnlockVerifies)
	}
}
