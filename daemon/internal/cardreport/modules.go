package cardreport

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"

	"github.com/inkan-project/inkan/token/p11"
	"github.com/inkan-project/inkan/token/p11/frame"
)

// module reports a PKCS#11 module. It runs in a process of its own.
func (r *report) module(ctx context.Context, m *p11.Module) {
	r.line(0, "PKCS#11 module %q", m.Path)
	found, err := p11.Inspect(ctx, m)
	if err != nil {
		r.line(1, "problem: %v", err)
		return
	}
	r.line(1, "manufacturer %q, library %q, version %s", found.Info.Manufacturer, found.Info.Description, found.Info.Version)
	for _, missing := range found.Unconfined {
		r.line(1, "not confined: %s", missing)
	}
	for _, slot := range found.Slots {
		r.slot(slot)
	}
}

func (r *report) slot(s p11.InspectedSlot) {
	r.line(1, "slot %d %q", s.ID, s.Description)
	if s.Token == nil {
		r.line(2, "no token")
		return
	}
	t := s.Token
	r.line(2, "token label %q, manufacturer %q, model %q, serial %s", t.Label, t.Manufacturer, t.Model, r.serial(t.Serial))
	r.line(2, "PIN of %d to %d bytes, flags 0x%X%s", t.MinPIN, t.MaxPIN, t.Flags, flags(t.Flags))
	if s.Problem != nil {
		r.line(2, "problem: %v", s.Problem)
	}
	if len(s.Mechanisms) > 0 {
		r.line(2, "mechanisms%s", mechanisms(s.Mechanisms))
	}
	for _, o := range s.Objects {
		r.object(o)
	}
}

// flags names those flags of CK_TOKEN_INFO that say how PINs are given, and how
// many tries are left (PKCS#11 v3.1 section 3.2, table 6).
func flags(f uint) string {
	var names strings.Builder
	for _, flag := range []struct {
		bit  uint
		name string
	}{
		{0x00000004, "LOGIN_REQUIRED"},
		{0x00000008, "USER_PIN_INITIALIZED"},
		{0x00000100, "PROTECTED_AUTHENTICATION_PATH"},
		{0x00000400, "TOKEN_INITIALIZED"},
		{0x00010000, "USER_PIN_COUNT_LOW"},
		{0x00020000, "USER_PIN_FINAL_TRY"},
		{0x00040000, "USER_PIN_LOCKED"},
		{0x00080000, "USER_PIN_TO_BE_CHANGED"},
		{0x00100000, "SO_PIN_COUNT_LOW"},
		{0x00200000, "SO_PIN_FINAL_TRY"},
		{0x00400000, "SO_PIN_LOCKED"},
	} {
		if f&flag.bit != 0 {
			names.WriteString(" " + flag.name)
		}
	}
	return names.String()
}

// mechanisms lists mechanisms, with the names of those that sign (PKCS#11 v3.1
// sections 6.1 and 6.3).
func mechanisms(all []uint) string {
	names := map[uint]string{
		0x0001: "RSA_PKCS", 0x0003: "RSA_X_509", 0x0006: "SHA1_RSA_PKCS", 0x000D: "RSA_PKCS_PSS",
		0x0040: "SHA256_RSA_PKCS", 0x0041: "SHA384_RSA_PKCS", 0x0042: "SHA512_RSA_PKCS", 0x0043: "SHA256_RSA_PKCS_PSS",
		0x1041: "ECDSA", 0x1042: "ECDSA_SHA1", 0x1044: "ECDSA_SHA256", 0x1045: "ECDSA_SHA384", 0x1046: "ECDSA_SHA512",
	}
	var text strings.Builder
	for _, m := range all {
		fmt.Fprintf(&text, " 0x%X", m)
		if name, ok := names[m]; ok {
			text.WriteString("=" + name)
		}
	}
	return text.String()
}

// object reports a public object (PKCS#11 v3.1 sections 4.6 to 4.9).
func (r *report) object(o frame.Object) {
	class := map[uint]string{1: "certificate", 2: "public key", 3: "private key"}[o.Class]
	text := fmt.Sprintf("%s id %X label %q", class, o.ID, o.Label)
	switch {
	case o.Class == 1:
		text += fmt.Sprintf(", %d bytes", len(o.Certificate))
	case len(o.Modulus) > 0:
		text += fmt.Sprintf(", RSA-%d", new(big.Int).SetBytes(o.Modulus).BitLen())
	case len(o.Params) > 0:
		text += fmt.Sprintf(", EC parameters %X", o.Params)
	default:
		text += fmt.Sprintf(", key type 0x%X, public key not shown", o.KeyType)
	}
	if o.NoSign {
		text += ", not for signatures"
	}
	if o.Always {
		text += ", wants the PIN for each signature"
	}
	r.line(2, "%s", text)
	if o.Class == 1 {
		r.certificate(3, o.Certificate)
	}
}

// certificate reports the kind of a certificate, and the whole of it only where
// that was asked for: it names people.
func (r *report) certificate(depth int, der []byte) {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		r.line(depth, "cannot be read as a certificate (it may be compressed)")
		return
	}
	kind := c.PublicKeyAlgorithm.String()
	switch k := c.PublicKey.(type) {
	case *rsa.PublicKey:
		kind = fmt.Sprintf("RSA-%d", k.N.BitLen())
	case *ecdsa.PublicKey:
		kind = k.Curve.Params().Name
	}
	r.line(depth, "of a key %s, signed with %s, key usage 0x%X, authority %t, valid to %s",
		kind, c.SignatureAlgorithm, int(c.KeyUsage), c.IsCA, c.NotAfter.UTC().Format("2006-01"))
	if !r.Certificates {
		return
	}
	for line := range strings.Lines(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))) {
		r.line(depth, "%s", strings.TrimSuffix(line, "\n"))
	}
}
