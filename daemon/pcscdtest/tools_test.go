package pcscdtest_test

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

func TestForeignToolsUseTheCardWhileInkandIdles(t *testing.T) {
	b := newBench(t)
	c := newCard(t, nil)
	b.pcscd.Reader("Inkan Test").Insert(c)
	id := b.cards(1)[0].GetId()
	key := b.key(id, "9a")
	for range 2 {
		if _, err := sign(t.Context(), b.Client(rightPIN), key, inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256); err != nil {
			t.Fatal(err)
		}
		if out := b.tool("piv-tool", "--name"); !strings.Contains(out, "Personal Identity Verification") {
			t.Errorf("piv-tool says %q", out)
		}
		if out := b.tool("pkcs15-tool", "--list-certificates"); !strings.Contains(out, "X.509 Certificate") {
			t.Errorf("pkcs15-tool says %q", out)
		}
		if out := b.tool("yubico-piv-tool", "-r", "Inkan Test", "-a", "status"); !strings.Contains(out, "PIN tries left:	10") {
			t.Errorf("yubico-piv-tool says %q", out)
		}
	}
	b.neverMore(c)
}

// toolSays runs yubico-piv-tool with a line on its standard input, and wants a
// text in what it writes. It is run again only as long as inkand has the card.
func (b *bench) toolSays(want, stdin string, args ...string) {
	b.t.Helper()
	var out []byte
	for end := time.Now().Add(hangs); time.Now().Before(end); {
		cmd := exec.CommandContext(b.t.Context(), "yubico-piv-tool", append([]string{"-r", "Inkan Test", "--stdin-input"}, args...)...)
		cmd.Stdin = strings.NewReader(stdin)
		if out, _ = cmd.CombinedOutput(); !strings.Contains(string(out), "Failed to connect") {
			break
		}
	}
	if !strings.Contains(string(out), want) {
		b.t.Errorf("yubico-piv-tool %v: %s, want %q in it", args, out, want)
	}
}

// tool runs a PC/SC program once inkand has let the card go, which it does
// after its idle time: until then the program fails at once.
func (b *bench) tool(name string, args ...string) string {
	b.t.Helper()
	var out []byte
	var err error
	for range 100 { // the idle time here is short: a few rounds do
		cmd := exec.CommandContext(b.t.Context(), name, args...)
		if out, err = cmd.CombinedOutput(); err == nil {
			return string(out)
		}
	}
	b.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	return ""
}

// Instructions (ISO/IEC 7816-4 and SP 800-73-5 part 2).
const (
	insSelect      = 0xA4
	insGetData     = 0xCB
	insVerify      = 0x20
	insSign        = 0x87
	insGetResponse = 0xC0
)

func TestASignatureTakesNoCommandTooMany(t *testing.T) {
	b := newBench(t)
	c := newCard(t, nil)
	b.pcscd.Reader("Inkan Test").Insert(c)
	id := b.cards(1)[0].GetId()
	first := c.truth(t).Commands
	total := 0
	for ins, n := range first {
		if ins != insGetResponse {
			total += n
		}
	}
	if total > 14 {
		t.Errorf("first contact took %d commands (%v), at most 14", total, first)
	}
	for _, slot := range []string{"9a", "9c"} {
		key := b.key(id, slot)
		before := c.truth(t).Commands
		if _, err := sign(t.Context(), b.Client(rightPIN), key, inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256); err != nil {
			t.Fatal(err)
		}
		after := c.truth(t).Commands
		want := map[byte]int{insSelect: 1, insGetData: 1, insVerify: 2, insSign: 1}
		for ins, n := range after {
			if got := n - before[ins]; got != want[ins] {
				t.Errorf("%s: instruction %02X was sent %d times, want %d", slot, ins, got, want[ins])
			}
		}
	}
}
