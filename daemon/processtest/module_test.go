package processtest_test

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/inkan-project/inkan/pcsc/pcsctest"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// openSC gives every card to OpenSC's module (Debian's opensc-pkcs11).
const openSC = `
[[pkcs11]]
name = "opensc"
module = "/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so"
takes = "all"
`

// inkand is killed while a module gives a PIN to the card, before the card acts
// or after: the try is spent when inkand comes back, the module's process is
// gone with it, and the card has seen no PIN more than were recorded.
func TestAKilledInkandLeavesNoModuleAndGivesNoTryBack(t *testing.T) {
	b := newBench(t)
	inkand := build(t, "./daemon/cmd/inkand")
	dir := b.path("card")
	card, err := pivcard.Open(pivcard.Options{Dir: dir, Keys: map[pivcard.Slot]pivcard.KeyType{pivcard.SlotAuthentication: pivcard.P256}})
	b.check(err)
	t.Cleanup(func() { _ = card.Close() })
	id := "piv-" + hex.EncodeToString(card.GUID())
	reader := b.pcscd.Reader("Inkan Test")
	reader.Insert(card)
	b.serve(inkand, id, config{more: openSC})
	for i, acts := range []bool{false, true} {
		seen := b.truth().Verifies
		struck := reader.Arrange(pcsctest.Fault{
			Match: func(command []byte) bool { return len(command) > 5 && command[1] == 0x20 }, // VERIFY with a PIN
			Acts:  acts, Drop: true,
			Meanwhile: func() { _ = b.inkand.Process.Signal(syscall.SIGKILL) },
		})
		b.asker(b.self).do(order{Do: "verify", Card: id, PIN: "765432"}, "SERVICE_UNREACHABLE")
		<-struck
		<-b.inkand.exited
		b.poll("a module's process is left", func() bool { return running(t, inkand) == 0 })
		b.serve(inkand, id, config{more: openSC})
		if got := b.truth().Verifies - seen; got > 1 || acts != (got == 1) {
			t.Errorf("acts %v: the card saw %d PINs", acts, got)
		}
		if left := b.await(id).GetPin().GetTriesLeft(); int(left) != 9-i {
			t.Errorf("acts %v: %d tries left, want %d", acts, left, 9-i)
		}
	}
	spent := 0
	for rec, err := range b.client().Records(t.Context()) {
		b.check(err)
		if rec.GetKind() == inkanpb.RecordKind_RECORD_KIND_INTENT {
			spent++
		}
	}
	if saw := b.truth(); saw.Verifies > spent || spent != 2 {
		t.Errorf("the card saw %d PINs, %d tries were recorded, want 2", saw.Verifies, spent)
	}
}

// running counts the processes that run a program.
func running(t *testing.T, program string) (n int) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if path, err := os.Readlink(link); err == nil && path == program {
			n++
		}
	}
	return n
}
