package processtest_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
	"github.com/inkan-project/inkan/token/p11"
	"github.com/inkan-project/inkan/token/p11/p11test"
)

// moduleObserver is an observer whose module processes say it, too. What they
// say of their pages goes to inkand's log.
func moduleObserver() []edit {
	return append(observer(),
		edit{"token/p11/child.go", "\tcmd.Dir = \"/\"\n", "\tcmd.Dir = \"/\"\n\tcmd.Stderr = os.Stderr\n"})
}

// newModuleAviary starts everything with a token of SoftHSM, whose secrets become
// canaries once they are found to stand nowhere.
func newModuleAviary(t *testing.T, program, memory string) *aviary {
	t.Helper()
	m := p11test.SoftHSM(t)
	a := &aviary{bench: newBench(t), program: program, config: config{memory: memory, more: moduleTOML(m)}}
	a.check(os.Mkdir(a.path("said"), 0o700))
	a.serve(program, "", a.config)
	for range 20 {
		a.canaries = newCanaries()
		if len(a.everywhere()) == 0 {
			a.changeSecrets(m)
			a.card = a.anyCard().GetId()
			return a
		}
	}
	t.Fatal("all digits stand in memory before they were given to anybody")
	return nil
}

func moduleTOML(m *p11.Module) string {
	name, value, _ := strings.Cut(m.Environment[0], "=")
	return fmt.Sprintf("[[pkcs11]]\nname = %q\nmodule = %q\nvia = \"own\"\nprofile = \"softhsm\"\nenvironment = { %s = %q }\nwritable = [%q]\n",
		m.Name, m.Path, name, value, m.Writable[0])
}

// changeSecrets gives the token the canaries for secrets, by a program that has
// ended before inkand is given any.
func (a *aviary) changeSecrets(m *p11.Module) {
	a.Helper()
	for _, args := range [][]string{
		{"--login-type", "user", "--pin", p11test.PIN, "--new-pin", a.pin.digits},
		{"--login-type", "so", "--so-pin", p11test.UnlockCode, "--new-pin", a.code.digits},
	} {
		args = append([]string{"--module", m.Path, "--token-label", p11test.Label, "--login", "--change-pin"}, args...)
		cmd := exec.CommandContext(a.Context(), "pkcs11-tool", args...)
		cmd.Env = append(os.Environ(), m.Environment...)
		if out, err := cmd.CombinedOutput(); err != nil {
			a.Fatalf("changing a secret of the token: %v\n%s", err, out)
		}
	}
}

// anyCard waits until inkand knows a card.
func (b *bench) anyCard() *inkanpb.CardStatus {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	for u, err := range b.client().Watch(ctx) {
		if err != nil {
			b.Fatalf("no card was ever seen: %v\n%s", err, b.log())
		}
		if cards := u.Status.GetCards(); len(cards) > 0 {
			return cards[0]
		}
	}
	b.Fatalf("no card was ever seen\n%s", b.log())
	return nil
}

// TestNoSecretOfAModuleIsFoundOutsideOfItsProcess: the module may keep what it
// is given. The pages from which we give it are wiped all the same.
func TestNoSecretOfAModuleIsFoundOutsideOfItsProcess(t *testing.T) {
	for _, tt := range []struct {
		name, memory string
		edits        []edit
	}{
		{"as it is released", "", nil},
		{"observed, in locked memory", "mlock", moduleObserver()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			program := build(t, "./daemon/cmd/inkand", tt.edits...)
			twice(t, func(t *testing.T) []found {
				a := newModuleAviary(t, program, tt.memory)
				a.useModule()
				all := a.everywhere()
				// Each secret has a page in inkand and one in the module's process.
				if pages, zero := a.observed(); tt.edits != nil && (pages < 14 || zero != pages) {
					t.Errorf("%d of %d pages were zero when they were done with, want all of at least 14", zero, pages)
				}
				person := a.asker(a.self)
				person.tell(order{Do: "sign", Card: a.card, Slot: "02", PIN: a.unlocked.digits, Wait: true})
				if r := person.hear(); !r.Asked {
					t.Fatalf("nobody was asked: %+v", r)
				}
				a.crash(syscall.SIGABRT)
				return append(all, a.everywhere()...)
			})
		})
	}
}

// useModule does with each secret what a module can be asked for.
func (a *aviary) useModule() {
	a.Helper()
	person := a.asker(a.self)
	person.do(order{Do: "sign", Card: a.card, Slot: "02", PIN: a.pin.digits}, "")
	person.do(order{Do: "verify", Card: a.card, PIN: a.wrong.digits}, "PIN_WRONG")
	person.do(order{Do: "verify", Card: a.card, PIN: a.wrong.digits}, "PIN_KNOWN_WRONG")
	person.do(order{Do: "change", Card: a.card, PIN: a.pin.digits, New: a.changed.digits}, "")
	person.do(order{Do: "sign", Card: a.card, Slot: "02", PIN: a.changed.digits}, "")
	person.do(order{Do: "unlock", Card: a.card, Code: a.wrongCode.digits, New: a.unlocked.digits}, "UNLOCK_CODE_WRONG")
	person.do(order{Do: "unlock", Card: a.card, Code: a.code.digits, New: a.unlocked.digits}, "")
	person.do(order{Do: "sign", Card: a.card, Slot: "02", PIN: a.unlocked.digits}, "")
}

// TestACardReportHasNoSecretAndSpendsNoTry: inkand's own program, behind a real
// pcscd, after a PIN was used; and while an inkand runs it refuses.
func TestACardReportHasNoSecretAndSpendsNoTry(t *testing.T) {
	program := build(t, "./daemon/cmd/inkand")
	a := newAviary(t, program, "", "")
	person := a.asker(a.self)
	person.do(order{Do: "sign", Card: a.card, Slot: "9c", PIN: a.pin.digits}, "")
	if out, err := a.cardReport(); err == nil || !strings.Contains(out, "INK-2015") {
		t.Errorf("while inkand runs: %v\n%s", err, out)
	}
	a.end(a.inkand, syscall.SIGTERM)
	before := a.truth()
	out, err := a.cardReport("--certificates", "--serials")
	a.check(err)
	if after := a.truth(); after.StatusQueries != before.StatusQueries || !sameSecrets(before, after) {
		t.Errorf("the card saw %+v, before the report %+v", after, before)
	}
	// OpenSC's module asks for the tries left by itself, by VERIFY without data.
	withModule, err := a.cardReport("--module", "/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so", "--certificates", "--serials")
	a.check(err)
	if after := a.truth(); !sameSecrets(before, after) {
		t.Errorf("with a module the card saw %+v, before %+v", after, before)
	}
	a.check(os.WriteFile(a.path("said/report"), []byte(out+withModule), 0o600))
	for _, want := range []string{"PIV (A000000308): 9000", "certificate 9C (5FC10A): 9000", `library "OpenSC`, "certificate id 02", "end of report"} {
		if !strings.Contains(withModule, want) {
			t.Errorf("the report has no %q:\n%s", want, withModule)
		}
	}
	for _, f := range a.everywhere() {
		t.Errorf("found: %s", f)
	}
}

// sameSecrets reports whether no secret was given, and no try spent, between.
func sameSecrets(a, b pivcard.Truth) bool {
	return a.Verifies == b.Verifies && a.UnlockVerifies == b.UnlockVerifies &&
		a.Changes == b.Changes && a.PINLeft == b.PINLeft && a.UnlockLeft == b.UnlockLeft && len(a.Signatures) == len(b.Signatures)
}

// cardReport runs inkand card-report where this inkand would be.
func (a *aviary) cardReport(args ...string) (string, error) {
	a.Helper()
	ctx, cancel := context.WithTimeout(a.Context(), time.Minute)
	defer cancel()
	out, err := a.pcscd.Command(ctx, a.program, append([]string{"card-report", "--socket", a.path("inkan.sock")}, args...)...).CombinedOutput()
	return string(out), err
}
