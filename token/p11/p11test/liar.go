package p11test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/inkan-project/inkan/token/p11"
)

//go:embed lying
var sources embed.FS

// LiarLimit is how many wrong PINs in a row lock the token of a Liar; the same
// holds for its unlock code.
const LiarLimit = 10

// Liar is a PKCS#11 module with a token of its own that works, or lies as it is
// told (lying/lies.c). Its token is a folder, which outlives the module's
// processes and keeps what it was asked for.
type Liar struct {
	*p11.Module
	Dir string // of the token
	// Key is its RSA-2048 key, with CKA_ID 01, and Other one that it only claims to
	// have.
	Key, Other crypto.Signer
}

// NewLiar builds the module and makes a token.
func NewLiar(t testing.TB) *Liar {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, sources); err != nil {
		t.Fatal(err)
	}
	library := filepath.Join(dir, "liar.so")
	all, err := fs.Glob(os.DirFS(dir), "lying/*.c")
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-pthread", "-o", library}, all...)
	cmd := exec.CommandContext(t.Context(), "gcc", args...) //nolint:gosec // sources of this package
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	key, other := rsaKey(t), rsaKey(t)
	l := &Liar{Module: &p11.Module{Path: library}, Key: key, Other: other}
	return l.Another(t, "liar", "0001")
}

func rsaKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Another makes a module of this name with a fresh token of this serial number
// and the same keys.
func (l *Liar) Another(t testing.TB, name, serial string) *Liar {
	t.Helper()
	a := &Liar{Dir: t.TempDir(), Key: l.Key, Other: l.Other}
	a.Module = &p11.Module{
		Name: name, Path: filepath.Join(a.Dir, "liar.so"), Own: true, Timeout: 20 * time.Second, Writable: []string{a.Dir},
		Environment: []string{"LYING_TOKEN=" + a.Dir, "LYING_SERIAL=" + serial, "LYING_SLOT=slot of " + name},
	}
	key, ok := l.Key.(*rsa.PrivateKey)
	if !ok {
		t.Fatalf("the key is a %T", l.Key)
	}
	// What its multiplication wants: R squared, where R is 2 to the length of the
	// modulus.
	square := new(big.Int).Lsh(big.NewInt(1), 2*2048)
	other, ok := l.Other.Public().(*rsa.PublicKey)
	if !ok {
		t.Fatalf("the other key is a %T", l.Other)
	}
	library, err := os.ReadFile(l.Path)
	if err != nil {
		t.Fatal(err)
	}
	for file, content := range map[string][]byte{
		"liar.so": library, "pin": []byte(PIN), "code": []byte(UnlockCode), "id": {1},
		"certificate": Certificate(t, l.Key), "other-certificate": Certificate(t, l.Other),
		"modulus": key.N.Bytes(), "other-modulus": other.N.Bytes(),
		"exponent": key.D.FillBytes(make([]byte, 256)),
		"square":   square.Mod(square, key.N).FillBytes(make([]byte, 256)),
	} {
		a.Put(t, file, content)
	}
	return a
}

// Put writes a file of the token at once.
func (l *Liar) Put(t testing.TB, file string, content []byte) {
	t.Helper()
	path := filepath.Join(l.Dir, file)
	write(t, path+".new", content)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// Lie has the module lie from now on, for example "hang:C_Sign"; "" is the
// truth.
func (l *Liar) Lie(t testing.TB, lie string) {
	t.Helper()
	l.Put(t, "lie", []byte(lie))
}

// Seen returns what the token was asked for since it was made: calls with a
// secret and whether it was right, and signatures.
func (l *Liar) Seen(t testing.TB) []string { return l.Lines(t, "seen") }

// Logins returns how often the token was given a PIN by C_Login.
func (l *Liar) Logins(t testing.TB) (n int) {
	t.Helper()
	for _, line := range l.Seen(t) {
		if strings.HasPrefix(line, "C_Login ") {
			n++
		}
	}
	return n
}

// Lines returns the lines of a file of the token; none if there is no file.
func (l *Liar) Lines(t testing.TB, file string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(l.Dir, file))
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(text) == 0 {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// Running returns the processes that the module was loaded in, or left behind,
// and that are there still.
func (l *Liar) Running(t testing.TB) (all []int) {
	t.Helper()
	for _, line := range l.Lines(t, "processes") {
		var pid int
		var started string
		if _, err := fmt.Sscan(line, &pid, &started); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		// After the name in parentheses: state, parent, …, start time as the 20th
		// (proc_pid_stat(5)). One that has ended is waited for by its parent.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) > 19 && fields[19] == started && (fields[0] != "Z" || fields[1] == fmt.Sprint(os.Getpid())) {
			all = append(all, pid)
		}
	}
	return all
}
