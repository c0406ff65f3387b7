package pcscdtest_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/daemon"
	"github.com/inkan-project/inkan/daemon/daemontest"
	"github.com/inkan-project/inkan/pcsc/pcsctest"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
)

// promptGroup is a group that every Debian has and nobody signs with.
const (
	promptGroup   = "nogroup"
	promptGroupID = 65534
)

// A person at a terminal, inkan, inkan-prompt as it is installed, inkand and a
// pcscd: all of them as they are released.
func TestOnlyAPersonAtTheTerminalSpendsTheLastTries(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: making inkan-prompt setgid")
	}
	b := &bench{t: t, pcscd: pcsctest.Start(t, pcsctest.Options{})}
	times := shortTimes(t, "2s")
	b.Daemon = daemontest.Start(t, daemontest.Options{PCSCD: true, Config: func(c *daemon.Config) {
		times(c)
		c.PromptGroup, c.PIN.TrustedAgents, c.PIN.ProgramSource = promptGroup, nil, true
	}})
	c := newCard(t, nil)
	leaveTries(t, c, 3)
	b.pcscd.Reader("Inkan Test").Insert(c)
	id := b.cards(1)[0].GetId()
	withPrompt, alone := install(t)

	if _, err := b.Client(rightPIN).VerifyPIN(t.Context(), id); !errors.Is(err, client.ErrPINSourceRefused) {
		t.Errorf("a program got %v, want that it is refused", err)
	}
	term := b.onTerminal(alone, "pin", "verify") // nobody is asked at all
	term.ends(4, "INK-1008")

	term = b.onTerminal(withPrompt, "pin", "verify")
	term.answer("To go on type 3 (Ctrl-C cancels): ", "3")
	term.answer("PIN (not shown; Ctrl-C cancels): ", pivcard.DemoPIN)
	term.ends(0, "The PIN is right. Tries left: ")

	term = b.onTerminal(withPrompt, "pin", "change")
	term.answer("\r\nPIN (not shown; Ctrl-C cancels): ", pivcard.DemoPIN)
	term.answer("New PIN (not shown; Ctrl-C cancels): ", "864209")
	term.answer("New PIN once more (not shown; Ctrl-C cancels): ", "864209")
	term.ends(0, "The PIN was changed.")
	if _, err := b.Client(daemontest.PIN("864209")).VerifyPIN(t.Context(), id); err != nil {
		t.Errorf("the new PIN: %v", err)
	}
}

// leaveTries spends the PIN tries of a card elsewhere, but for some.
func leaveTries(t *testing.T, c card, left int) {
	t.Helper()
	c.Reset()
	c.Transmit([]byte{0x00, 0xA4, 0x04, 0x00, 0x05, 0xA0, 0x00, 0x00, 0x03, 0x08}) // SELECT PIV, SP 800-73-4 part 2 section 3.1.1
	for c.truth(t).PINLeft > left {
		c.Transmit([]byte{0x00, 0x20, 0x00, 0x80, 0x08, '0', '0', '0', '0', '0', '0', 0xFF, 0xFF}) // VERIFY, section 3.2.1
	}
}

// install builds inkan twice: with the trusted prompt beside it, and alone.
func install(t *testing.T) (withPrompt, alone string) {
	t.Helper()
	dir := t.TempDir()
	for _, to := range []string{"both", "alone"} {
		if err := os.Mkdir(filepath.Join(dir, to), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	both, alone := filepath.Join(dir, "both"), filepath.Join(dir, "alone", "inkan")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", both+"/",
		"github.com/inkan-project/inkan/client/cmd/inkan", "github.com/inkan-project/inkan/client/cmd/inkan-prompt")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	helper := filepath.Join(both, "inkan-prompt")
	if err := errors.Join(
		os.Link(filepath.Join(both, "inkan"), alone),
		os.Chown(helper, 0, promptGroupID),
		os.Chmod(helper, 0o755|os.ModeSetgid),
	); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(both, "inkan"), alone
}

// terminal is a pseudo-terminal with inkan on it.
type terminal struct {
	t      *testing.T
	cmd    *exec.Cmd
	master *os.File
	shown  []byte
	output bytes.Buffer
}

func (b *bench) onTerminal(inkan string, args ...string) *terminal {
	b.t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = master.Close() })
	raw, err := master.SyscallConn()
	if err != nil {
		b.t.Fatal(err)
	}
	var number int
	var ioctlErr error
	if err := raw.Control(func(fd uintptr) {
		if ioctlErr = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); ioctlErr == nil {
			number, ioctlErr = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	}); err != nil || ioctlErr != nil {
		b.t.Fatal(err, ioctlErr)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = slave.Close() })
	term := &terminal{t: b.t, master: master, cmd: exec.Command(inkan, args...)}
	term.cmd.Env = []string{"INKAN_SOCKET=" + b.Socket, "LC_ALL=C"}
	term.cmd.Stdout, term.cmd.Stderr = &term.output, &term.output
	term.cmd.ExtraFiles = []*os.File{slave} // descriptor 3 there
	term.cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid: true, Setctty: true, Ctty: 3,
		// A signer by the primary group alone, which that of inkan-prompt
		// replaces in what the kernel shows.
		Credential: &syscall.Credential{Uid: 0, Gid: 0, Groups: []uint32{}},
	}
	if err := term.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	return term
}

// answer waits for a question and types the answer.
func (term *terminal) answer(question, keys string) {
	term.t.Helper()
	_ = term.master.SetReadDeadline(time.Now().Add(hangs))
	for !bytes.Contains(term.shown, []byte(question)) {
		chunk := make([]byte, 4096)
		n, err := term.master.Read(chunk)
		term.shown = append(term.shown, chunk[:n]...)
		if err != nil {
			_ = term.cmd.Process.Kill()
			_ = term.cmd.Wait() // nobody writes to the output any more
			term.t.Fatalf("the terminal shows %q, want %q: %v; output %q", term.shown, question, err, term.output.String())
		}
	}
	term.shown = nil
	if _, err := io.WriteString(term.master, keys+"\r"); err != nil {
		term.t.Fatal(err)
	}
}

// ends waits for inkan's end.
func (term *terminal) ends(code int, output string) {
	term.t.Helper()
	late := time.AfterFunc(hangs, func() { _ = term.cmd.Process.Kill() })
	defer late.Stop()
	_ = term.cmd.Wait()
	if got := term.cmd.ProcessState.ExitCode(); got != code || !strings.Contains(term.output.String(), output) {
		term.t.Errorf("inkan ended with %d and %q, want %d and %q", got, term.output.String(), code, output)
	}
}
