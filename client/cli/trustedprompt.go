package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Where inkan-prompt is: beside inkan, else where it is packaged.
const (
	promptName   = "inkan-prompt"
	promptFolder = "/usr/libexec/inkan"
)

// How long inkan-prompt may take to be ready, and to end. It does nothing that
// waits but for inkand.
const (
	promptReadyTime = 10 * time.Second
	promptEndTime   = 5 * time.Second
)

// maxAgentID bounds what is read of the id (AgentWelcome.agent_id).
const maxAgentID = 64

// trustedPrompt is a running inkan-prompt. nil is none.
type trustedPrompt struct {
	id   string // of its agent; empty if it did not start
	life *os.File
	cmd  *exec.Cmd
	kill context.CancelFunc
	said bytes.Buffer // its stderr; complete once end has waited
}

// findPrompt returns the path of inkan-prompt, empty if there is none.
func findPrompt() string {
	var folders []string
	if self, err := os.Executable(); err == nil {
		folders = append(folders, filepath.Dir(self))
	}
	for _, folder := range append(folders, promptFolder) {
		path := filepath.Join(folder, promptName)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path
		}
	}
	return ""
}

// startPrompt starts inkan-prompt and waits until its agent has an id. Whether
// it has shows only when a PIN is needed: until then inkan-prompt asks nothing,
// and keys without a PIN need none.
func startPrompt(ctx context.Context, path, socket, lang string) *trustedPrompt {
	p := &trustedPrompt{}
	failed := func(err error) *trustedPrompt {
		_, _ = p.said.WriteString(promptName + ": " + err.Error() + "\n") // a buffer takes everything
		return p
	}
	ready, readyTheirs, err := os.Pipe()
	if err != nil {
		return failed(err)
	}
	defer ready.Close() // only read
	lifeTheirs, life, err := os.Pipe()
	if err != nil {
		_ = readyTheirs.Close() // nothing was written
		return failed(err)
	}
	running, kill := context.WithCancel(context.Background())                                                          // ended by end, never by a signal to inkan
	cmd := exec.CommandContext(running, path, "--socket", socket, "--ready-fd", "3", "--life-fd", "4", "--lang", lang) //nolint:gosec // beside this program or where it is packaged: found by findPrompt alone
	cmd.Env = []string{}
	cmd.ExtraFiles = []*os.File{readyTheirs, lifeTheirs} // 3 and 4 there
	cmd.Stderr = &p.said
	err = cmd.Start()
	_, _ = readyTheirs.Close(), lifeTheirs.Close() // the child has its own
	if err != nil {
		_ = life.Close() // nobody reads it
		kill()
		return failed(err)
	}
	p.cmd, p.life, p.kill = cmd, life, kill
	if p.id, err = readID(ctx, ready); err != nil && ctx.Err() == nil && !errors.Is(err, io.EOF) {
		kill() // it hangs; at an EOF it says why by itself
	}
	return p
}

// readID reads the one line of --ready-fd.
func readID(ctx context.Context, ready *os.File) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, promptReadyTime)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = ready.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	line, err := bufio.NewReader(io.LimitReader(ready, maxAgentID+1)).ReadString('\n')
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(line, "\n"), nil
}

// agent returns the id to name in calls; empty if there is none.
func (p *trustedPrompt) agent() string {
	if p == nil {
		return ""
	}
	return p.id
}

// end ends inkan-prompt, waits for it and returns what it said, line by line.
func (p *trustedPrompt) end() []string {
	if p == nil {
		return nil
	}
	if p.cmd != nil {
		_ = p.life.Close() // it ends when it sees this
		late := time.AfterFunc(promptEndTime, p.kill)
		_ = p.cmd.Wait() // why it ended it has said itself
		late.Stop()
		p.kill()
	}
	var lines []string
	for line := range strings.Lines(p.said.String()) {
		lines = append(lines, strings.TrimSpace(line))
	}
	return lines
}
