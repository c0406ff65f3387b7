package pcscdtest_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/daemon"
	"github.com/inkan-project/inkan/daemon/daemontest"
	"github.com/inkan-project/inkan/pcsc/pcsctest"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
	"github.com/inkan-project/inkan/token/p11/module"
)

// TestMain makes this test the process of a PKCS#11 module where inkand starts
// it as one.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == module.Verb {
		module.Main()
	}
	os.Exit(m.Run())
}

// openSC is Debian's module (package opensc-pkcs11).
const openSC = "/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so"

// withModule gives every card to OpenSC's module, also those that inkand could
// use by itself.
func withModule(t *testing.T) func(*daemon.Config) {
	short := shortTimes(t, "10s")
	return func(c *daemon.Config) {
		short(c)
		c.PKCS11 = []daemon.PKCS11Config{{Name: "opensc", Module: openSC, Takes: "all"}}
	}
}

func newModuleBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, pcscd: pcsctest.Start(t, pcsctest.Options{})}
	b.Daemon = daemontest.Start(t, daemontest.Options{PCSCD: true, Config: withModule(t)})
	return b
}

// One card is seen by two ways: it is there once, and signs with each key. The
// key of 9C wants the PIN for each signature, and so a second try.
func TestACardSignsThroughOpenSCsModule(t *testing.T) {
	b := newModuleBench(t)
	c := newCard(t, map[pivcard.Slot]pivcard.KeyType{
		pivcard.SlotAuthentication: pivcard.RSA2048, pivcard.SlotSignature: pivcard.P256, pivcard.SlotCardAuth: pivcard.P384,
	})
	b.pcscd.Reader("Inkan Test").Insert(c)
	if got, want := b.cards(1)[0].GetId(), fmt.Sprintf("piv-%x", c.GUID()); got != want {
		t.Errorf("the card is %s, want %s, as without the module", got, want)
	}
	p := &person{}
	holder := b.Client(p)
	p.tell(knows{pin: pivcard.DemoPIN})
	keys, err := holder.Keys(t.Context())
	if err != nil || len(keys) != 3 {
		t.Fatalf("keys %v, %v", keys, err)
	}
	wanted := map[string]int{"01": 1, "02": 2, "04": 1} // VERIFYs by CKA_ID
	for _, key := range keys {
		for _, a := range key.GetAlgorithms() {
			before := c.truth(t)
			if _, err := sign(t.Context(), holder, key, a); err != nil {
				t.Errorf("%s with key %s: %v", a, key.GetSlot(), err)
			}
			after := c.truth(t)
			if got := after.Verifies - before.Verifies; got != wanted[key.GetSlot()] || len(after.Signatures) != len(before.Signatures)+1 {
				t.Errorf("%s with key %s: %d VERIFYs and %d signatures, want %d and 1",
					a, key.GetSlot(), got, len(after.Signatures)-len(before.Signatures), wanted[key.GetSlot()])
			}
		}
	}
	b.neverMore(c)
}

func TestACardIsChangedLockedAndUnlockedThroughOpenSCsModule(t *testing.T) {
	b := newModuleBench(t)
	p := &person{}
	h := &holder{
		b: b, person: p, client: b.Client(p), looker: b.Client(nil), t: t, variant: variant{wrong: 10, unlocks: 10},
		card: newCard(t, nil), reader: b.pcscd.Reader("Inkan Test"), slot: "01",
	}
	h.insert()
	h.change()
	h.lock()
	h.unlock()
	b.neverMore(h.card)
}

// Tries that were spent through the module are spent without it.
func TestBothWaysToACardShareOneCount(t *testing.T) {
	b := newModuleBench(t)
	c := newCard(t, nil)
	b.pcscd.Reader("Inkan Test").Insert(c)
	id := b.cards(1)[0].GetId()
	wrong := b.Client(daemontest.PIN("765432"))
	if _, err := wrong.VerifyPIN(t.Context(), id); !errors.Is(err, client.ErrPINWrong) {
		t.Fatal(err)
	}
	b.Stop()
	b.Daemon = daemontest.Start(t, daemontest.Options{PCSCD: true, Dir: b.Dir, Config: shortTimes(t, "2s")})
	card := b.cards(1)[0]
	if left := card.GetPin().GetTriesLeft(); card.GetId() != id || left != 9 {
		t.Errorf("without the module it is %s with %d tries left, want %s and 9", card.GetId(), left, id)
	}
	if _, err := b.Client(daemontest.PIN("765432")).VerifyPIN(t.Context(), id); !errors.Is(err, client.ErrPINWrong) {
		t.Fatal(err)
	}
	b.neverMore(c)
}

// moduleProcesses are the processes in which modules of this test run.
func moduleProcesses(t *testing.T) (pids []int) {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range lines {
		line, err := os.ReadFile(path)
		args := strings.Split(strings.Trim(string(line), "\x00"), "\x00")
		if err != nil || len(args) != 2 || args[1] != module.Verb {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err == nil && bytes.Contains(status, fmt.Appendf(nil, "\nPPid:\t%d\n", os.Getpid())) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// The module's process is killed while the card has the PIN, before it acts or
// after: a try is spent either way, nobody is told "wrong", and nothing is sent
// again. The next signature goes well.
func TestAKilledModuleProcessSpendsItsTry(t *testing.T) {
	b := newModuleBench(t)
	reader, holder := b.pcscd.Reader("Inkan Test"), b.Client(rightPIN)
	for _, acts := range []bool{false, true} {
		c := newCard(t, nil)
		reader.Insert(c)
		id := b.cards(1)[0].GetId()
		key := b.key(id, "01")
		before, debits := c.truth(t), b.debitsOf(id)
		killed := 0
		struck := reader.Arrange(pcsctest.Fault{
			Match: func(command []byte) bool { return len(command) > 5 && command[1] == 0x20 }, // VERIFY with a PIN
			Acts:  acts, Drop: true,
			Meanwhile: func() {
				for _, pid := range moduleProcesses(t) {
					if syscall.Kill(pid, syscall.SIGKILL) == nil {
						killed++
					}
				}
			},
		})
		_, err := sign(t.Context(), holder, key, inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256)
		<-struck
		if !errors.Is(err, client.ErrPINNoVerdict) || killed != 1 {
			t.Errorf("acts %v: %v with %d processes killed, want no verdict and one", acts, err, killed)
		}
		seen := c.truth(t).Verifies - before.Verifies
		if spent := b.debitsOf(id) - debits; spent != 1 || acts != (seen == 1) {
			t.Errorf("acts %v: %d tries recorded, %d PINs seen by the card", acts, spent, seen)
		}
		if _, err := sign(t.Context(), holder, key, inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256); err != nil {
			t.Errorf("acts %v: the next signature: %v", acts, err)
		}
		if saw, spent := c.truth(t).Verifies, b.debitsOf(id); saw > spent {
			t.Errorf("acts %v: the card saw %d PINs, %d tries were recorded", acts, saw, spent)
		}
		reader.Remove()
		b.cards(0)
	}
}
