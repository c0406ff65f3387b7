package daemon

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/blackbox"
	"github.com/inkan-project/inkan/daemon/internal/peer"
	"github.com/inkan-project/inkan/token/cardprofile"
	"github.com/inkan-project/inkan/token/p11"
)

func TestCardProfilesAreForTheApplicationsThatInkandHas(t *testing.T) {
	set, err := cardprofile.Shipped()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, a := range applications(set, blackbox.New(time.Now)) {
		names = append(names, a.Name)
	}
	names = append(names, moduleApplication(&p11.Module{}, nil, set, nil).Name)
	if !slices.Equal(names, cardprofile.Applications()) {
		t.Errorf("inkand has %q, a card profile may be for %q", names, cardprofile.Applications())
	}
}

func TestATrustedAgentRunsTheVeryFileThatIsListed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	agent, err := net.Dial("unix", path) // this test is the agent
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = agent.Close() }()
	conn, err := ln.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	c, err := peer.FromConn(conn)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()

	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	same, link := filepath.Join(t.TempDir(), "same"), filepath.Join(t.TempDir(), "link")
	text, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(same, text, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, link); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		listed []string
		want   bool
	}{
		"listed":              {[]string{"/bin/cat", self}, true},
		"nothing listed":      {nil, false},
		"another program":     {[]string{"/bin/cat"}, false},
		"a copy of it":        {[]string{same}, false},
		"a link to it":        {[]string{link}, false},
		"no path":             {[]string{""}, false},
		"a file that is gone": {[]string{self + "-gone"}, false},
	} {
		if got := isTrusted(c, tt.listed); got != tt.want {
			t.Errorf("%s: trusted %v, want %v", name, got, tt.want)
		}
	}
}

func TestTheLibraryOfAModuleMayBeALinkButNotAFileOfOthers(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "module.so.1"), filepath.Join(dir, "module.so")
	for _, err := range []error{os.WriteFile(file, nil, 0o600), os.Symlink(filepath.Base(file), link)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	resolved, err := filepath.EvalSymlinks(file)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := library(link); got != resolved || err != nil {
		t.Errorf("the link leads to %q, %v; want %q", got, err, resolved)
	}
	for _, path := range []string{"module.so", filepath.Join(dir, "none"), dir} {
		if _, err := library(path); err == nil {
			t.Errorf("%s is taken", path)
		}
	}
	if err := os.Chmod(file, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := library(link); err == nil {
		t.Error("a library is taken that everybody can write to")
	}
}
