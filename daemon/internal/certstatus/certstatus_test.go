package certstatus

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/inkan-project/inkan/token"
)

var (
	begins = time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)
	ends   = time.Date(2028, 4, 1, 0, 0, 0, 0, time.UTC)
)

// certificate makes a self-signed certificate.
func certificate(t testing.TB, serial int64, subject pkix.Name, extra ...pkix.Extension) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: subject,
		NotBefore: begins, NotAfter: ends, ExtraExtensions: extra,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestByDates(t *testing.T) {
	cert := Facts{NotBefore: begins, NotAfter: ends}
	for _, tc := range []struct {
		name  string
		facts Facts
		now   time.Time
		want  token.CertificateState
	}{
		{"a second before it begins", cert, begins.Add(-time.Second), token.CertificateNotYetValid},
		{"as it begins", cert, begins, token.CertificateUnknown},
		{"in between revocation is not checked", cert, begins.AddDate(1, 0, 0), token.CertificateUnknown},
		{"as it ends", cert, ends, token.CertificateUnknown},
		{"a second after it ended", cert, ends.Add(time.Second), token.CertificateExpired},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.facts.ByDates(tc.now); got != tc.want {
				t.Errorf("ByDates() = %d, want %d", got, tc.want)
			}
		})
	}
}

func TestReadReturnsWhatPeopleWantToKnow(t *testing.T) {
	got, err := Read(certificate(t, 0xABC, pkix.Name{
		Country: []string{"JP"}, Organization: []string{"株式会社サンプル"}, CommonName: "代表　取締役",
	}))
	want := Facts{
		Subject: "CN=代表　取締役,O=株式会社サンプル,C=JP", Issuer: "CN=代表　取締役,O=株式会社サンプル,C=JP",
		Company: "株式会社サンプル", Holder: "代表　取締役", Serial: "0ABC", NotBefore: begins, NotAfter: ends,
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("Read() differs (-want +got), error %v:\n%s", err, diff)
	}
}

func TestReadShowsNothingThatPlaysTricks(t *testing.T) {
	got, err := Read(certificate(t, 1, pkix.Name{
		Organization: []string{"evil\x1b[2J\n\u202egnp.exe"}, CommonName: "a\u200bb",
	}))
	if err != nil {
		t.Fatal(err)
	}
	if got.Company != "evil\ufffd[2J\ufffd\ufffdgnp.exe" || got.Holder != "a\ufffdb" {
		t.Errorf("Read() = company %q, holder %q", got.Company, got.Holder)
	}
}

func TestReadRefuses(t *testing.T) {
	good := certificate(t, 1, pkix.Name{CommonName: "x"})
	large := certificate(t, 1, pkix.Name{CommonName: "x"},
		pkix.Extension{Id: []int{1, 2, 3, 4}, Value: make([]byte, MaxSize)})
	for name, der := range map[string][]byte{
		"nothing":                     nil,
		"something else":              []byte("-----BEGIN CERTIFICATE-----"),
		"a certificate cut short":     good[:len(good)-1],
		"a certificate and a byte":    append(good[:len(good):len(good)], 0),
		"a certificate beyond 16 KiB": large,
	} {
		if got, err := Read(der); err == nil {
			t.Errorf("Read() of %s = %+v, want an error", name, got)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(certificate(f, 1, pkix.Name{Organization: []string{"株式会社サンプル"}, CommonName: "x"}))
	f.Add([]byte{0x30, 0x80})
	f.Fuzz(func(t *testing.T, der []byte) {
		facts, err := Read(der)
		if err != nil {
			return
		}
		for _, text := range []string{facts.Subject, facts.Issuer, facts.Company, facts.Holder} {
			if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) && r != '\u3000' }) {
				t.Errorf("Read() = %q, want only what can be shown", text)
			}
		}
		if facts.Serial == "" || strings.Trim(facts.Serial, "0123456789ABCDEF") != "" {
			t.Errorf("Read() = serial %q, want upper-case hexadecimal", facts.Serial)
		}
	})
}

func TestAShelfSaysWhatReadSays(t *testing.T) {
	var shelf Shelf
	der := certificate(t, 7, pkix.Name{Organization: []string{"株式会社サンプル"}})
	want, err := Read(der)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got, err := shelf.Read(der); err != nil || got != want {
			t.Errorf("shelf: %+v, %v; want %+v", got, err, want)
		}
	}
	if _, err := shelf.Read([]byte("no certificate")); err == nil {
		t.Error("garbage was read")
	}
}
