package daemon_test

import (
	"strings"
	"testing"

	"github.com/inkan-project/inkan/daemon"
	"github.com/inkan-project/inkan/daemon/daemontest"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// bundle returns the parts of a support bundle, by name.
func bundle(t *testing.T, d *daemontest.Daemon) map[string]string {
	t.Helper()
	parts := map[string]string{}
	for p, err := range d.Client(nil).SupportBundle(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		parts[p.Name] = p.Text
	}
	return parts
}

func TestASupportBundleSaysWhatHappenedAndNothingOfWhom(t *testing.T) {
	d := daemontest.Start(t, daemontest.Options{Config: func(c *daemon.Config) { c.SignerGroup = "inkan-test" }})
	c := d.Client(daemontest.PIN(pivcard.DemoPIN))
	if _, err := c.Sign(t.Context(), request(d.Key("9c"), inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Client(daemontest.PIN("654321")).VerifyPIN(t.Context(), d.Key("9c").GetCardId()); err == nil {
		t.Fatal("a wrong PIN was right")
	}
	parts := bundle(t, d)
	for name, wants := range map[string][]string{
		"versions":          {"inkand test, go1.", "kernel Linux"},
		"configuration":     {"signer_group = 'inkan-test'", "command_timeout = '30s'"},
		"commands to cards": {"PIV: ATR ", "> 00200080 [secret] < 9000", "> 00200080 [secret] < 63C9", " bytes left out] < [", "> 00a4040009a0000003080000100000 < [39 bytes] 9000"},
		"log of inkand":     {"msg=Serving", "PIN_WRONG"},
		"doctor":            {"journal      ok", "certificates warning     INK-6001"},
		"status":            {"\"version\":", "CARD_STATE_READY", "(left out)"},
		"records":           {" intent sign ", " result sign outcome=\"OK\"", "code=\"INK-1001 PIN_WRONG\"", "tries_left=\"9\""},
	} {
		text, ok := parts[name]
		if !ok {
			t.Errorf("there is no part %q", name)
		}
		for _, want := range wants {
			if !strings.Contains(strings.ReplaceAll(text, "\":  ", "\": "), want) {
				t.Errorf("part %q lacks %q:\n%s", name, want, text)
			}
		}
	}
	for name, text := range parts {
		for _, secret := range []string{pivcard.DemoPIN, "654321", "株式会社サンプル", "入札書"} {
			if name == "status" && secret == pivcard.DemoPIN {
				continue // the hint says the PIN of a virtual card, everywhere
			}
			if strings.Contains(text, secret) {
				t.Errorf("part %q holds %q:\n%s", name, secret, text)
			}
		}
	}
}
