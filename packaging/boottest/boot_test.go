//go:build boot

package boottest

import (
	"flag"
	"os"
	"strings"
	"testing"
)

// What .ci/test-boot tells.
var (
	packages = flag.String("packages", "", "folder with the .deb packages")
	guide    = flag.String("guide", "", "docs/ja/install.md")
	suite    = flag.String("suite", "", "bookworm or trixie")
)

// TestMain is also the other programs that the story needs: this one, started
// as a user of the PC.
func TestMain(m *testing.M) {
	flag.Parse()
	switch os.Getenv(roleVariable) {
	case "":
		if in, err := os.ReadFile("/run/systemd/container"); err != nil || strings.TrimSpace(string(in)) != "systemd-nspawn" || os.Getuid() != 0 {
			_, _ = os.Stderr.WriteString("boottest: only for root in the container of .ci/test-boot\n")
			os.Exit(2)
		}
		os.Exit(m.Run())
	case roleLoad:
		os.Exit(loadMain())
	case roleAgent:
		os.Exit(agentMain())
	case roleCall:
		os.Exit(callMain())
	}
	os.Exit(2)
}

// TestAPC is the life of our packages on a PC.
func TestAPC(t *testing.T) {
	p := &pc{}
	for _, step := range []struct {
		name string
		do   func(*testing.T, *pc)
	}{
		{"packages are installed, sockets listen, nothing runs yet", install},
		{"the first request starts the service", firstRequest},
		{"the virtual card of inkan-trial is seen through pcscd", trial},
		{"a member of the group signs, and openssl accepts it", memberSigns},
		{"another user is refused", otherIsRefused},
		{"wrong PINs are counted across a restart of the service", wrongPINs},
		{"an upgrade under load loses no request", upgradeUnderLoad},
		{"a service that hangs is ended by the watchdog and comes back", watchdog},
		{"pcscd refuses without the polkit rule, and serves with it", polkit},
		{"before the PC sleeps cards are let go, and identified after it", sleeps},
		{"a PIN is asked for at the active seat", seats},
		{"the journal has our fields", journalFields},
		{"removing keeps the state, and a new installation goes on with it", removeAndReinstall},
		{"purging keeps journal and log, unless they are asked to go", purge},
		{"docs/ja/install.md, followed to the letter, ends with a verified signature", followGuide},
	} {
		if !t.Run(step.name, func(t *testing.T) { step.do(t, p) }) {
			p.explain(t)
			t.FailNow()
		}
	}
}
