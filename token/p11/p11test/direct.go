package p11test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"

	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/p11"
)

// Direct is a module inside the test's own process, without anything of ours in
// between: what benchmarks compare with. It belongs to one goroutine.
type Direct struct {
	ctx     *pkcs11.Ctx
	slot    uint
	session pkcs11.SessionHandle
	keys    map[string]pkcs11.ObjectHandle
}

// LoadDirect loads a module and finds the token of [SoftHSM].
func LoadDirect(t testing.TB, path string, environment ...string) *Direct {
	t.Helper()
	for _, v := range environment {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
	d := &Direct{ctx: pkcs11.New(path)}
	if d.ctx == nil {
		t.Fatalf("%s cannot be loaded", path)
	}
	must(t, d.ctx.Initialize())
	t.Cleanup(func() { _ = d.ctx.Finalize() })
	slots, err := d.ctx.GetSlotList(true)
	must(t, err)
	for _, slot := range slots {
		info, err := d.ctx.GetTokenInfo(slot)
		must(t, err)
		if info.Label == Label {
			d.slot = slot
			return d
		}
	}
	t.Fatalf("%s shows no token %s", path, Label)
	return nil
}

// Login opens a session and logs in.
func (d *Direct) Login(t testing.TB) {
	t.Helper()
	session, err := d.ctx.OpenSession(d.slot, pkcs11.CKF_SERIAL_SESSION)
	must(t, err)
	must(t, d.ctx.Login(session, pkcs11.CKU_USER, PIN))
	d.session, d.keys = session, map[string]pkcs11.ObjectHandle{}
}

// Logout logs out and closes the session.
func (d *Direct) Logout(t testing.TB) {
	t.Helper()
	must(t, d.ctx.Logout(d.session))
	must(t, d.ctx.CloseSession(d.session))
}

// Find finds a private key by its CKA_ID.
func (d *Direct) Find(t testing.TB, id string) {
	t.Helper()
	raw, err := hex.DecodeString(id)
	must(t, err)
	must(t, d.ctx.FindObjectsInit(d.session, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY), pkcs11.NewAttribute(pkcs11.CKA_ID, raw),
	}))
	found, _, err := d.ctx.FindObjects(d.session, 1)
	must(t, err)
	must(t, d.ctx.FindObjectsFinal(d.session))
	if len(found) == 0 {
		t.Fatalf("there is no private key %s", id)
	}
	d.keys[id] = found[0]
}

// Sign signs a digest by SHA-256 with a key that was found: C_SignInit and
// C_Sign.
func (d *Direct) Sign(t testing.TB, key token.Key, digest []byte) {
	t.Helper()
	mechanism, data := uint(pkcs11.CKM_ECDSA), digest
	switch key.Public.(type) {
	case *rsa.PublicKey:
		mechanism, data = pkcs11.CKM_RSA_PKCS, token.RSAPKCS1SHA256.DigestInfo(digest)
	case *ecdsa.PublicKey:
	}
	must(t, d.ctx.SignInit(d.session, []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanism, nil)}, d.keys[key.Slot]))
	_, err := d.ctx.Sign(d.session, data)
	must(t, err)
}

// P11Kit serves the token of a module by p11-kit's server on a Unix socket, and
// loads p11-kit's client module into this process. It needs p11-kit and
// p11-kit-modules.
func P11Kit(t testing.TB, m *p11.Module) *Direct {
	t.Helper()
	dir, err := os.MkdirTemp("", "p11-kit") // short: a socket's path has 107 bytes
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, "p11-kit", "server", "--foreground", "--sh", "--provider", m.Path, "--name", filepath.Join(dir, "socket"), "pkcs11:") //nolint:gosec // a command of this file
	cmd.Env = append(os.Environ(), m.Environment...)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		stop()
		_ = cmd.Wait() // it was killed
	})
	for lines := bufio.NewScanner(out); lines.Scan(); {
		text, _, _ := strings.Cut(lines.Text(), ";")
		if address, ok := strings.CutPrefix(text, "P11_KIT_SERVER_ADDRESS="); ok {
			return LoadDirect(t, p11KitClient(t), "P11_KIT_SERVER_ADDRESS="+strings.Trim(address, `'"`))
		}
	}
	t.Fatal("p11-kit server says no address")
	return nil
}

// p11KitClient is where Debian has p11-kit's client module.
func p11KitClient(t testing.TB) string {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/*/pkcs11/p11-kit-client.so")
	if err != nil || len(found) != 1 {
		t.Fatalf("p11-kit-client.so: %q, %v; install p11-kit-modules", found, err)
	}
	return found[0]
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
