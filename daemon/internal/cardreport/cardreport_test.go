package cardreport_test

import (
	"context"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/inkan-project/inkan/daemon/internal/cardreport"
	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/pcsc/apdu"
	"github.com/inkan-project/inkan/pcsc/virtual"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	"github.com/inkan-project/inkan/token/p11"
	"github.com/inkan-project/inkan/token/p11/module"
	"github.com/inkan-project/inkan/token/p11/p11test"
)

// TestMain makes this test the process of a PKCS#11 module where it is started
// as one.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == module.Verb {
		module.Main()
	}
	os.Exit(m.Run())
}

// write returns a report.
func write(t *testing.T, cfg cardreport.Config) string {
	t.Helper()
	var out strings.Builder
	cfg.Out, cfg.Version, cfg.System = &out, "test", "this computer"
	if cfg.Readers == nil {
		cfg.Readers = virtual.New(virtual.Options{})
	}
	if err := cardreport.Write(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// has checks that each of these is in a report, or none.
func has(t *testing.T, report string, want bool, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if strings.Contains(report, part) != want {
			t.Errorf("%q in the report: %v, want %v\n%s", part, !want, want, report)
		}
	}
}

// usedCard is a reader whose card has just had its PIN.
func usedCard(t *testing.T) (system *virtual.System, dir, guid string) {
	t.Helper()
	dir = t.TempDir()
	card, err := pivcard.Open(pivcard.Options{Dir: dir, Keys: map[pivcard.Slot]pivcard.KeyType{pivcard.SlotSignature: pivcard.P256}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = card.Close() })
	for _, c := range []apdu.Command{
		{INS: 0xA4, P1: 0x04, Data: []byte{0xA0, 0x00, 0x00, 0x03, 0x08}, Ne: 256},
		{INS: 0x20, P2: 0x80, Data: []byte(pivcard.DemoPIN + "\xFF\xFF")},
	} {
		command, err := c.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if answer := card.Transmit(command); answer[len(answer)-2] != 0x90 {
			t.Fatalf("the card answers % X", answer)
		}
	}
	system = virtual.New(virtual.Options{})
	if err := system.Insert(virtual.DefaultReader, card); err != nil {
		t.Fatal(err)
	}
	return system, dir, hex.EncodeToString(card.GUID())
}

func TestAReportOfACardSpendsNothingAndHasNoSecretAndNoName(t *testing.T) {
	system, dir, guid := usedCard(t)
	before, err := pivcard.ReadTruth(dir)
	if err != nil {
		t.Fatal(err)
	}
	report := write(t, cardreport.Config{Readers: system})
	has(t, report, true, virtual.DefaultReader, "ATR 3B", "PIV (A000000308): 9000", "PKCS#15 (A000000063504B43532D3135): 6A82",
		"CHUID (5FC102): 9000", "certificate 9C (5FC10A): 9000", "of a key P-256", "Left out: serial numbers", "end of report")
	has(t, strings.ToLower(report), false, pivcard.DemoPIN, pivcard.DemoUnlockCode, "31323334", guid, "サンプル", "begin certificate")
	after, err := pivcard.ReadTruth(dir)
	if err != nil {
		t.Fatal(err)
	}
	if after.Verifies != before.Verifies || after.StatusQueries != before.StatusQueries || after.UnlockVerifies != 0 ||
		after.Changes != 0 || len(after.Signatures) != 0 || after.PINLeft != before.PINLeft || after.UnlockLeft != before.UnlockLeft {
		t.Errorf("the card saw %+v, before the report %+v", after, before)
	}
	for ins := range after.Commands {
		if n := after.Commands[ins] - before.Commands[ins]; n > 0 && ins != 0xA4 && ins != 0xCB && ins != 0xC0 {
			t.Errorf("the card got instruction %02X %d times", ins, n)
		}
	}
	has(t, write(t, cardreport.Config{Readers: system, Certificates: true}), true, "BEGIN CERTIFICATE")
	has(t, write(t, cardreport.Config{Readers: system, Reader: "Another"}), false, "ATR")
}

// noReaders is a computer without pcscd.
type noReaders struct{ pcsc.System }

func (noReaders) Wait(context.Context, []pcsc.ReaderState) ([]pcsc.ReaderState, error) {
	return []pcsc.ReaderState{}, nil
}

func TestAReportSaysWhatItCannotReach(t *testing.T) {
	system, _, _ := usedCard(t)
	other, err := system.Connect(t.Context(), virtual.DefaultReader)
	if err != nil {
		t.Fatal(err)
	}
	has(t, write(t, cardreport.Config{Readers: system}), true, "another program has the card", "end of report")
	if err := other.Disconnect(pcsc.Leave); err != nil {
		t.Fatal(err)
	}
	none := &p11.Module{Name: "none", Path: "/no/such/module.so"}
	has(t, write(t, cardreport.Config{Readers: system, Modules: []*p11.Module{none}}), true, "ATR", "problem:", "end of report")
	has(t, write(t, cardreport.Config{Readers: noReaders{}, Health: func() error { return pcsc.ErrNoService }}), true, "cannot be listed", "end of report")
}

func TestAReportOfAModuleShowsNoSerialNumberAndNoCertificateUnlessAskedFor(t *testing.T) {
	m := p11test.SoftHSM(t)
	report := write(t, cardreport.Config{Modules: []*p11.Module{m}})
	has(t, report, true, m.Path, `manufacturer "SoftHSM"`, `token label "`+p11test.Label+`"`, "LOGIN_REQUIRED", "0x1041=ECDSA",
		`certificate id 01 label "certificate 01"`, "of a key RSA-2048", "public key id 02", "of 16 characters", "end of report")
	// Private keys cannot be seen without a login.
	has(t, report, false, "problem", "private key", p11test.PIN, p11test.UnlockCode, "BEGIN CERTIFICATE")
	whole := write(t, cardreport.Config{Modules: []*p11.Module{m}, Serials: true, Certificates: true})
	has(t, whole, true, "BEGIN CERTIFICATE")
	has(t, whole, false, "of 16 characters", "Left out", "private key")
}
