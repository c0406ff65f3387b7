package cli_test

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/inkan-project/inkan/client/internal/clientfake"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// prompt is where the terminal waits for the PIN.
const prompt = "Ctrl-C cancels): "

func startFake(t *testing.T) *clientfake.Server {
	t.Helper()
	dir, err := os.MkdirTemp("", "inkan")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	fake, err := clientfake.Start(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Stop)
	// A virtual card's prompt says the PIN, which tests look for.
	fake.ChangePrompts(func(p *inkanpb.PinPrompt) { p.Virtual = false })
	return fake
}

func TestThePINIsNotShownWhileItIsTyped(t *testing.T) {
	withAndWithoutPrompt(t, thePINIsNotShown)
}

func thePINIsNotShown(t *testing.T, inkan string) {
	fake := startFake(t)
	term := startThere(t, fake, inkan, "pin", "verify")
	term.expect(prompt)
	if lflag := term.settings().Lflag; lflag&(unix.ECHO|unix.ICANON|unix.ISIG) != 0 {
		t.Errorf("local modes are %#x while the PIN is typed, want no ECHO, ICANON, ISIG", lflag)
	}
	term.typeKeys("123456\r")
	term.end(0)
	if got := term.output() + term.stdout.String() + term.stderr.String(); strings.Contains(got, "123456") {
		t.Errorf("the PIN was shown: %q", got)
	}
	if fake.Tries() != 10 || term.stderr.Len() != 0 || !strings.Contains(term.stdout.String(), "The PIN is right") {
		t.Errorf("got %d tries, stdout %q, stderr %q", fake.Tries(), term.stdout.String(), term.stderr.String())
	}
}

func TestTyping(t *testing.T) {
	for _, tc := range []struct {
		name, keys string
		exit       int
		tries      uint32
	}{
		{"Return ends it", "123456\r", 0, 10},
		{"newline ends it", "123456\n", 0, 10},
		{"Backspace takes a key back", "12x\x7f3457\x086\r", 0, 10},
		{"Backspace at the beginning does nothing", "\x7f\x7f123456\r", 0, 10},
		{"Backspace takes a whole Japanese character", "あ\x7f123456\r", 0, 10},
		{"Ctrl-U begins again", "999\x15123456\r", 0, 10},
		{"other control keys are no part of it", "123\x01\t456\r", 0, 10},
		{"more than fits is asked again, never cut", strings.Repeat("1", 65) + "\r123456\r", 0, 10},
		{"64 bytes fit, and inkand refuses them", strings.Repeat("1", 64) + "\r", 5, 10},
		{"too much, taken back with Ctrl-U", strings.Repeat("1", 70) + "\x15123456\r", 0, 10},
		{"an empty one is inkand's to refuse", "\r", 5, 10},
		{"a wrong one spends a try", "654321\r", 5, 9},
		{"Ctrl-C cancels", "123\x03", 9, 10},
		{"Ctrl-D cancels", "123456\x04", 9, 10},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fake := startFake(t)
			term := startOnTerminal(t, fake, "pin", "verify")
			term.expect(prompt)
			term.typeKeys(tc.keys)
			term.end(tc.exit)
			if got := fake.Tries(); got != tc.tries {
				t.Errorf("%d tries are left, want %d", got, tc.tries)
			}
			if strings.Contains(term.output(), "123456") {
				t.Errorf("the PIN was shown: %q", term.output())
			}
		})
	}
}

func TestAnInterruptedPromptLeavesTheTerminalAsItWas(t *testing.T) {
	withAndWithoutPrompt(t, anInterruptedPromptLeavesTheTerminal)
}

func anInterruptedPromptLeavesTheTerminal(t *testing.T, inkan string) {
	for _, tc := range []struct {
		name      string
		interrupt func(t *testing.T, fake *clientfake.Server, term *terminal)
	}{
		{"SIGTERM", func(t *testing.T, _ *clientfake.Server, term *terminal) { sendSignal(t, term, syscall.SIGTERM) }},
		{"SIGINT", func(t *testing.T, _ *clientfake.Server, term *terminal) { sendSignal(t, term, syscall.SIGINT) }},
		{"SIGHUP to all", func(t *testing.T, _ *clientfake.Server, term *terminal) { signalAll(t, term, syscall.SIGHUP) }},
		{"SIGINT to all", func(t *testing.T, _ *clientfake.Server, term *terminal) { signalAll(t, term, syscall.SIGINT) }},
		{"inkand cancels it", func(_ *testing.T, fake *clientfake.Server, _ *terminal) { fake.CancelPrompts() }},
		{"pin.sock is gone", func(_ *testing.T, fake *clientfake.Server, _ *terminal) { fake.StopAgents() }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fake := startFake(t)
			term := startThere(t, fake, inkan, "pin", "verify")
			term.expect(prompt)
			term.typeKeys("123")
			tc.interrupt(t, fake, term)
			term.end(9)
			if fake.Tries() != 10 {
				t.Errorf("%d tries are left, want 10", fake.Tries())
			}
		})
	}
}

func sendSignal(t *testing.T, term *terminal, s syscall.Signal) {
	t.Helper()
	if err := term.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// signalAll sends a signal to all processes of the terminal's job, as a shell
// and the terminal do.
func signalAll(t *testing.T, term *terminal, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(-term.cmd.Process.Pid, s); err != nil {
		t.Fatal(err)
	}
}

func TestAHostileNameDoesNotReachTheTerminal(t *testing.T) {
	fake := startFake(t)
	fake.ChangePrompts(func(p *inkanpb.PinPrompt) {
		p.Virtual = false
		p.DocumentNames = []string{"a\x1b[2Jb\u202ec\nPIN"}
	})
	term := startOnTerminal(t, fake, "pin", "verify")
	term.expect(prompt)
	term.typeKeys("123456\r")
	term.end(0)
	if got := term.output(); strings.ContainsAny(got, "\x1b\u202e") || !strings.Contains(got, "a\uFFFD[2Jb\uFFFDc\uFFFDPIN") {
		t.Errorf("the terminal got %q", got)
	}
}

// A shell shows what is typed again while a job is stopped (kill -TSTP, fg).
func TestAPromptThatWasStoppedHidesThePINAgain(t *testing.T) {
	withAndWithoutPrompt(t, aStoppedPromptHidesThePINAgain)
}

func aStoppedPromptHidesThePINAgain(t *testing.T, inkan string) {
	fake := startFake(t)
	term := startThere(t, fake, inkan, "pin", "verify")
	term.expect(prompt)
	signalAll(t, term, syscall.SIGSTOP)
	term.set(term.before)
	signalAll(t, term, syscall.SIGCONT)
	term.expect(prompt + "\r\nPIN (not shown; " + prompt)
	if lflag := term.settings().Lflag; lflag&(unix.ECHO|unix.ICANON|unix.ISIG) != 0 {
		t.Errorf("local modes are %#x after SIGCONT, want no ECHO, ICANON, ISIG", lflag)
	}
	term.typeKeys("123456\r")
	term.end(0)
	if strings.Contains(term.output(), "123456") {
		t.Errorf("the PIN was shown: %q", term.output())
	}
}
