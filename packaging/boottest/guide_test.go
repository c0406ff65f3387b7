//go:build boot

package boottest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// block is a piece of the guide in ``` fences.
type block struct {
	language string // "sh" is typed, "text" is what is then seen
	lines    []string
}

// blocks returns all fenced pieces of a page.
func blocks(page string) (all []block) {
	inside := false
	for line := range strings.Lines(page) {
		line = strings.TrimSuffix(line, "\n")
		switch language, fence := strings.CutPrefix(line, "```"); {
		case fence && !inside:
			all, inside = append(all, block{language: language}), true
		case fence:
			inside = false
		case inside:
			last := &all[len(all)-1]
			last.lines = append(last.lines, line)
		}
	}
	return all
}

// followGuide does what the guide says, as its reader: each block on a terminal
// after a new login, in the folder where the packages are. What stands in a block
// "text" must have been seen after the block before it.
func followGuide(t *testing.T, p *pc) {
	page, err := os.ReadFile(*guide)
	if err != nil {
		t.Fatal(err)
	}
	run(t, "gpasswd", "--delete", member, "inkan") // the guide says how to become a member
	write(t, "/etc/sudoers.d/boottest", member+" ALL=(ALL) NOPASSWD: ALL\n")
	for _, file := range debs(t, *packages, "inkan", "inkan-client", "inkan-trial") {
		run(t, "install", "--owner="+member, file, filepath.Join(p.home, filepath.Base(file)))
	}
	seen, verified := "", false
	for _, b := range blocks(string(page)) {
		text := strings.Join(b.lines, "\n")
		switch b.language {
		case "sh":
			cmd := exec.Command("su", "--login", member, "--session-command", "set -eu\n"+text)
			cmd.Env = []string{"TERM=xterm", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
			if seen, err = onTerminal(t, cmd, rightPIN); err != nil {
				t.Fatalf("%s\n: %v\n%s", text, err, seen)
			}
		case "text":
			for _, line := range b.lines {
				if !strings.Contains(seen, strings.TrimSpace(line)) {
					t.Errorf("after that the guide shows %q; seen was\n%s", line, seen)
				}
				verified = verified || line == "Verified OK"
			}
		}
	}
	if !verified {
		t.Error("the guide does not end with a verified signature")
	}
	wantHealthy(t)
}
