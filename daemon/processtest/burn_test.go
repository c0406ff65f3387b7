package processtest_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"testing"
	"time"
)

const (
	burners     = 5
	firstBurner = 20001 // uid
	perBurner   = 20    // connections
)

// TestBurn is T01 of the security model: programs of five users do what they
// can to lock the company's card.
func TestBurn(t *testing.T) {
	wrong := 10_000
	b := newBench(t)
	id := b.insert("", "")
	b.serve(build(t, "./daemon/cmd/inkand"), id, config{program: true})
	program := b.copyForAll()
	began := time.Now()
	sum := burned{Answers: map[string]int{}}
	outs := make([]*json.Decoder, burners)
	for i := range outs {
		cmd := b.pcscd.Command(context.WithoutCancel(t.Context()), program, b.path("inkan.sock"), id, strconv.Itoa(perBurner), strconv.Itoa(wrong/burners))
		cmd.Env, cmd.Dir, cmd.Stderr, cmd.SysProcAttr = []string{asWhat + "=" + asBurner}, "/", t.Output(), b.signer(uint32(firstBurner+i))
		_, outs[i] = b.startSaying(cmd)
	}
	for _, out := range outs {
		var one burned
		b.check(out.Decode(&one))
		sum.Given += one.Given
		sum.Shut += one.Shut
		for reason, n := range one.Answers {
			sum.Answers[reason] += n
		}
	}
	t.Logf("%d wrong PINs in %v: %v; %d of %d connections were not let in", sum.Given, time.Since(began), sum.Answers, sum.Shut, burners*perBurner)
	if sum.Given < wrong {
		t.Errorf("%d wrong PINs were given, want %d", sum.Given, wrong)
	}
	if least := burners*perBurner - 64; sum.Shut < least { // daemon/internal/prompt lets in so many
		t.Errorf("%d connections were not let in, want %d at least", sum.Shut, least)
	}
	if saw := b.truth(); saw.Verifies > 3 || saw.PINLeft < 7 {
		t.Errorf("the card saw %d VERIFYs and has %d tries left, want 3 at most and 7 at least", saw.Verifies, saw.PINLeft)
	}
	b.asker(b.self).do(order{Do: "sign", Card: id, Slot: "9a", PIN: "123456"}, "")
	if saw := b.truth(); len(saw.Signatures) != 1 || saw.PINLeft != 10 {
		t.Errorf("the card made %d signatures and has %d tries left, want 1 and 10", len(saw.Signatures), saw.PINLeft)
	}
}

// copyForAll returns a copy of this program that every user can run, and that
// inkand does not trust.
func (b *bench) copyForAll() string {
	b.Helper()
	program := b.path("program")
	self, err := os.ReadFile(b.self)
	b.check(errors.Join(err, os.WriteFile(program, self, 0o755), os.Chmod(program, 0o755)))
	return program
}
