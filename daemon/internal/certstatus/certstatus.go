// Package certstatus says what a certificate is worth and what is in it.
//
// It guarantees not to fail on hostile bytes other than by an error, and that
// the texts it returns can be shown on a terminal. It knows dates only:
// revocation is not checked yet, so a certificate within its dates is of
// unknown state, never good.
//
// A caller decides what a state means for signing.
package certstatus

import (
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/inkan-project/inkan/token"
)

// MaxSize is the longest certificate that is read, in bytes.
const MaxSize = 16 << 10

// Facts is what people want to know about a certificate. In texts, characters
// that cannot be shown are replaced by U+FFFD.
type Facts struct {
	Subject   string // whole name, as in RFC 4514
	Issuer    string // whole name, as in RFC 4514
	Company   string // organization of the subject, or ""
	Holder    string // common name of the subject, or ""
	Serial    string // hexadecimal, upper case, two digits for each byte
	NotBefore time.Time
	NotAfter  time.Time
}

// ByDates returns CertificateNotYetValid, CertificateExpired or
// CertificateUnknown. Both ends belong to the period (RFC 5280 section
// 4.1.2.5).
func (f Facts) ByDates(now time.Time) token.CertificateState {
	switch {
	case now.Before(f.NotBefore):
		return token.CertificateNotYetValid
	case now.After(f.NotAfter):
		return token.CertificateExpired
	}
	return token.CertificateUnknown
}

// Read returns the facts in one DER-encoded X.509 certificate (RFC 5280). It
// checks no signature. Longer than [MaxSize], not DER, or followed by anything
// is an error.
func Read(der []byte) (Facts, error) {
	if len(der) > MaxSize {
		return Facts{}, fmt.Errorf("certificate of %d bytes is longer than %d", len(der), MaxSize)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return Facts{}, fmt.Errorf("parsing certificate: %w", err)
	}
	facts := Facts{
		Subject:   printable(cert.Subject.String()),
		Issuer:    printable(cert.Issuer.String()),
		Holder:    printable(cert.Subject.CommonName),
		Serial:    strings.ToUpper(hex.EncodeToString(cert.SerialNumber.Bytes())),
		NotBefore: cert.NotBefore,
		NotAfter:  cert.NotAfter,
	}
	if len(cert.Subject.Organization) > 0 {
		facts.Company = printable(cert.Subject.Organization[0])
	}
	if facts.Serial == "" { // zero has no bytes
		facts.Serial = "00"
	}
	return facts, nil
}

// printable replaces what could play tricks on a terminal: control characters,
// line breaks, marks that turn the direction of writing.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || r == '\u3000' { // ideographic space, usual in names
			return r
		}
		return unicode.ReplacementChar
	}, s)
}
