//go:build boot

package boottest

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	rightPIN = "123456" // of the virtual card
	wrongPIN = "000000"
)

func install(t *testing.T, p *pc) {
	aptInstall(t, debs(t, *packages, "inkan", "inkan-client")...)
	run(t, "useradd", "--create-home", "--shell", "/bin/bash", "--groups", "inkan", member)
	run(t, "useradd", "--create-home", "--shell", "/bin/bash", other)
	p.home = "/home/" + member
	for unit, want := range map[string]string{"inkan.socket": "active", "inkan-pin.socket": "active", service: "inactive"} {
		if got := property(t, unit, "ActiveState"); got != want {
			t.Errorf("%s is %s, want %s", unit, got, want)
		}
	}
	for path, want := range map[string]string{
		apiSocket:                                      "666 root root",
		pinSocket:                                      "660 root inkan",
		"/usr/libexec/inkan/inkan-prompt":              "2755 root inkan-prompt",
		"/etc/inkan/inkand.toml":                       "644 root root",
		"/usr/share/doc/inkan/docs":                    "755 root root",
		"/usr/share/doc/inkan/docs/ja":                 "755 root root",
		"/usr/share/bash-completion/completions/inkan": "644 root root",
	} {
		if got := strings.TrimSpace(run(t, "stat", "--format=%a %U %G", path)); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	if _, err := user.Lookup("inkan"); err != nil {
		t.Errorf("the service has no user: %v", err)
	}
	if *suite == "bookworm" { // systemd 252, whose scores are those of the unit's comments
		run(t, "systemd-analyze", "security", "--no-pager", "--threshold=5", service)
	}
	wantHealthy(t)
}

func firstRequest(t *testing.T, _ *pc) {
	s, err := readStatus(other)
	if err != nil {
		t.Fatal(err)
	}
	if got := property(t, service, "ActiveState"); got != "active" {
		t.Errorf("%s is %s after a request, want active", service, got)
	}
	// What this kernel lets a process do is what the service must use.
	memory, check := "memfd_secret", "pidfd"
	if fd, err := unix.MemfdSecret(0); err != nil {
		memory = "mlock"
	} else {
		_ = unix.Close(fd)
	}
	if !strings.HasPrefix(s.Service.PINMemory, memory) || !strings.HasPrefix(s.Service.PeerCheck, check) {
		t.Errorf("PIN memory %q and peer check %q are in force, want %s and %s", s.Service.PINMemory, s.Service.PeerCheck, memory, check)
	}
	want := fmt.Sprintf("PIN memory %s, peer check %s", s.Service.PINMemory, s.Service.PeerCheck)
	if log := run(t, "inkan", "log"); !strings.Contains(log, want) {
		t.Errorf("the log has no record %q:\n%s", want, log)
	}
	if uid := strings.TrimSpace(run(t, "stat", "--format=%U %a", state)); uid != "inkan 700" {
		t.Errorf("%s is %s, want inkan 700", state, uid)
	}
}

func trial(t *testing.T, _ *pc) {
	aptInstall(t, debs(t, *packages, "inkan-trial")...)
	awaitCard(t, 10)
	s, err := readStatus(other)
	if err != nil || len(s.Cards) != 0 {
		t.Errorf("%s sees %d cards, %v; want none", other, len(s.Cards), err)
	}
	wantHealthy(t)
}

func memberSigns(t *testing.T, p *pc) {
	p.sign(t, "first")
}

// sign signs a document with the card and checks the signature with openssl.
func (p *pc) sign(t *testing.T, name string) {
	t.Helper()
	file := func(suffix string) string { return filepath.Join(p.home, name+suffix) }
	write(t, file(".txt"), "入札書\n株式会社サンプル\n")
	if out, err := p.typing(t, rightPIN, "sign", "--key", "9c", "--in", file(".txt"), "--out", file(".sig")); err != nil {
		t.Fatalf("signing: %v\n%s", err, out)
	}
	certificate, err := as(member, "inkan", "cert", "show", "--key", "9c", "--pem")
	if err != nil {
		t.Fatalf("showing the certificate: %v\n%s", err, certificate)
	}
	write(t, file(".pem"), certificate)
	write(t, file(".pub"), run(t, "openssl", "x509", "-in", file(".pem"), "-pubkey", "-noout"))
	if out := run(t, "openssl", "dgst", "-sha256", "-verify", file(".pub"), "-signature", file(".sig"), file(".txt")); strings.TrimSpace(out) != "Verified OK" {
		t.Errorf("openssl says %q, want Verified OK", out)
	}
}

func otherIsRefused(t *testing.T, _ *pc) {
	for _, args := range [][]string{
		{"inkan", "keys"},
		{"inkan", "sign", "--key", "9c", "--in", "/etc/hostname", "--out", "/tmp/no.sig"},
		{"inkan", "pin", "verify"},
	} {
		out, err := as(other, args...)
		if exitCode(err) <= 0 || !strings.Contains(out, "INK-") {
			t.Errorf("%q as %s: %v, %q; want a refusal", args, other, err, out)
		}
	}
	if _, err := os.Stat("/tmp/no.sig"); err == nil {
		t.Error("there is a signature")
	}
	if _, err := as(other, "test", "-w", pinSocket); err == nil {
		t.Errorf("%s may connect to the PIN socket", other)
	}
	awaitCard(t, 10)
}

func wrongPINs(t *testing.T, p *pc) {
	wrong := func(left int) {
		t.Helper()
		awaitCard(t, left+1)
		if out, err := p.typing(t, wrongPIN+fmt.Sprint(left), "pin", "verify"); err == nil {
			t.Fatalf("a wrong PIN was right:\n%s", out)
		}
		awaitCard(t, left)
	}
	wrong(9)
	restart(t)
	p.awaitTry(t)
	wrong(8)
	restart(t)
	awaitCard(t, 8)
	// The member's two tries for this insertion are used up, restart or not.
	if out, err := p.typing(t, rightPIN, "pin", "verify"); err == nil || !strings.Contains(out, "INK-1012") {
		t.Errorf("the third try ended with %v, want INK-1012:\n%s", err, out)
	}
	p.reinsert(t)
	awaitCard(t, 8)
	p.awaitTry(t)
	if out, err := p.typing(t, rightPIN, "pin", "verify"); err != nil {
		t.Fatalf("the right PIN: %v\n%s", err, out)
	}
	awaitCard(t, 10)
}

// reinsert takes the virtual card out and puts it in again.
func (*pc) reinsert(t *testing.T) {
	t.Helper()
	const card = "inkan-virtual-card.service"
	run(t, "systemctl", "stop", card)
	out := time.Now()
	eventually(t, 15*time.Second, func() error {
		s, err := readStatus(member)
		if err == nil && (len(s.Cards) != 0 || time.Since(out) < 4*time.Second) { // a person was not quicker: docs/states.md
			err = fmt.Errorf("the card is still seen, or just taken out: %+v", s.Cards)
		}
		return err
	})
	run(t, "systemctl", "start", card)
}

// awaitTry waits until the next try may be made.
func (*pc) awaitTry(t *testing.T) {
	t.Helper()
	eventually(t, 30*time.Second, func() error {
		s, err := readStatus(member)
		if err == nil && (len(s.Cards) != 1 || s.Cards[0].PIN.Wait > 0) {
			err = fmt.Errorf("the next try must wait: %+v", s.Cards)
		}
		return err
	})
}

func watchdog(t *testing.T, _ *pc) {
	const dropIn = "/run/systemd/system/inkand.service.d/watchdog.conf"
	write(t, dropIn, "[Service]\nWatchdogSec=2\n")
	run(t, "systemctl", "daemon-reload")
	restart(t)
	defer func() {
		_ = os.Remove(dropIn)
		run(t, "systemctl", "daemon-reload")
		restart(t)
		awaitCard(t, 10)
	}()
	awaitCard(t, 10)
	before := mainPID(t)
	if err := unix.Kill(before, unix.SIGSTOP); err != nil { // it hangs
		t.Fatal(err)
	}
	eventually(t, 15*time.Second, func() error {
		if now := mainPID(t); now == before || now == 0 {
			return fmt.Errorf("the main process is %d, before it was %d", now, before)
		}
		return nil
	})
	if n := property(t, service, "NRestarts"); n != "1" {
		t.Errorf("systemd started it again %s times, want 1", n)
	}
	awaitCard(t, 10)
	if out := run(t, "journalctl", "--no-pager", "--unit="+service); strings.Contains(out, "goroutine ") {
		t.Error("goroutines were written to the journal")
	}
}

func polkit(t *testing.T, _ *pc) {
	if *suite == "bookworm" {
		t.Log("pcscd of Debian 12 has no polkit: nothing is refused, with or without the rule")
		return
	}
	const rule = "/usr/share/polkit-1/rules.d/50-inkan.rules"
	content, err := os.ReadFile(rule)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(rule); err != nil {
		t.Fatal(err)
	}
	restart(t)
	eventually(t, 15*time.Second, func() error {
		if out, _ := as(member, "inkan", "status"); !strings.Contains(out, "INK-2018") {
			return fmt.Errorf("without the rule status says: %s", out)
		}
		return nil
	})
	write(t, rule, string(content))
	awaitCard(t, 10) // without a restart of anything
	wantHealthy(t)
}

func journalFields(t *testing.T, _ *pc) {
	for _, match := range [][2]string{
		{"INKAN_READER=Virtual PCD 00 00", "Card inserted"},
		{"INKAN_REASON=PIN_WRONG", "Call failed"},
		{"INKAN_METHOD=/inkan.v1.CardService/VerifyPin", "Call failed"},
		{"INKAN_UID=1001", "Call denied"}, // the other user was refused
	} {
		out := run(t, "journalctl", "--no-pager", "--output=cat", "--unit="+service, match[0])
		if !strings.Contains(out, match[1]) {
			t.Errorf("the journal has no line %q with %s:\n%s", match[1], match[0], out)
		}
	}
}
