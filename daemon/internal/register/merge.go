package register

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/inkan-project/inkan/token"
)

// maxCertificate is the longest certificate that is looked into, in bytes.
const maxCertificate = 16 << 10

// seen returns the card as it is after it was seen now with these keys. Keys
// that it had before stay.
func (c Card) seen(identity token.Identity, keys []token.Key, now time.Time) Card {
	next := Card{
		ID: identity.Card, Serial: identity.Serial, Application: identity.Application,
		Virtual: identity.Virtual, FirstSeen: c.FirstSeen, LastSeen: now,
		Company: c.Company, Keys: slices.Clone(c.Keys), Token: identity.Token,
	}
	if next.Token == "" {
		next.Token = c.Token // seen without the module this time
	}
	if next.FirstSeen.IsZero() {
		next.FirstSeen = now
	}
	for _, k := range keys {
		key := Key{
			ID: k.ID, Slot: k.Slot, Label: k.Label, SPKI: k.SPKI,
			Certificate: k.Certificate, PINPolicy: k.PINPolicy,
		}
		at := slices.IndexFunc(next.Keys, func(have Key) bool { return have.ID == k.ID })
		if at < 0 {
			next.Keys = append(next.Keys, key)
		} else {
			next.Keys[at] = key
		}
	}
	next.sort()
	if company := newestCompany(keys); company != "" {
		next.Company = company
	}
	return next
}

// news reports whether c is worth a write when before is what is stored.
func (c Card) news(before Card) bool {
	before.sort()
	age := c.LastSeen.Sub(before.LastSeen).Abs() // a clock may have been set back
	return age >= lastSeenStep ||
		c.Serial != before.Serial || c.Application != before.Application ||
		c.Virtual != before.Virtual || c.Token != before.Token || c.Company != before.Company ||
		!slices.EqualFunc(c.Keys, before.Keys, Key.equal)
}

func (k Key) equal(o Key) bool {
	return k.ID == o.ID && k.Slot == o.Slot && k.Label == o.Label && k.PINPolicy == o.PINPolicy &&
		bytes.Equal(k.SPKI, o.SPKI) && bytes.Equal(k.Certificate, o.Certificate)
}

func (c *Card) sort() {
	slices.SortFunc(c.Keys, func(a, b Key) int {
		return cmp.Or(cmp.Compare(a.Slot, b.Slot), cmp.Compare(a.ID, b.ID))
	})
}

// newestCompany returns the subject's organization (RFC 5280 section 4.1.2.6)
// in the certificate that begins last, or "" if none names one.
func newestCompany(keys []token.Key) string {
	var company string
	var begins time.Time
	for _, k := range keys {
		if len(k.Certificate) == 0 || len(k.Certificate) > maxCertificate {
			continue
		}
		cert, err := x509.ParseCertificate(k.Certificate)
		if err != nil || len(cert.Subject.Organization) == 0 {
			continue // a key without a readable certificate is a key all the same
		}
		if company == "" || cert.NotBefore.After(begins) {
			company, begins = printable(cert.Subject.Organization[0]), cert.NotBefore
		}
	}
	return company
}

// printable replaces what could play tricks on a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || r == '\u3000' { // ideographic space, usual in company names
			return r
		}
		return unicode.ReplacementChar
	}, s)
}
