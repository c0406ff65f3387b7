package certstatus_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/inkan-project/inkan/daemon/internal/certstatus"
	"github.com/inkan-project/inkan/token"
)

// TestThePictureOfTheCertificateIsWhatDatesDo lets a day pass, and the clock be
// set back by one, around both ends of a certificate, and compares with the
// picture in docs/states.md.
func TestThePictureOfTheCertificateIsWhatDatesDo(t *testing.T) {
	text, err := os.ReadFile("../../../docs/states.md")
	if err != nil {
		t.Fatal(err)
	}
	_, part, found := strings.Cut(string(text), "## The certificate")
	if !found {
		t.Fatal("docs/states.md has no part about the certificate")
	}
	drawn := map[string]bool{}
	for _, e := range regexp.MustCompile(`(?m)^ +([a-z_]+) --> ([a-z_]+): `).FindAllStringSubmatch(part, -1) {
		drawn[e[1]+" → "+e[2]] = true
	}
	const day = 24 * time.Hour
	names := map[token.CertificateState]string{
		token.CertificateNotYetValid: "not_yet_valid", token.CertificateUnknown: "unknown", token.CertificateExpired: "expired",
	}
	first := time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)
	facts := certstatus.Facts{NotBefore: first, NotAfter: first.Add(30 * day)}
	made := map[string]bool{}
	for now := first.Add(-3 * day); now.Before(first.Add(40 * day)); now = now.Add(day / 2) {
		for _, step := range []time.Duration{day, -day} {
			if from, to := facts.ByDates(now), facts.ByDates(now.Add(step)); from != to {
				made[names[from]+" → "+names[to]] = true
			}
		}
	}
	if diff := cmp.Diff(made, drawn); diff != "" {
		t.Errorf("transitions (-code +picture):\n%s", diff)
	}
}
