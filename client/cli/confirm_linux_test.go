package cli_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/inkan-project/inkan/client/internal/clientfake"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// confirmed is where the terminal waits for a confirmation.
const confirmed = "To go on type 3 (Ctrl-C cancels): "

func TestTheLastTriesAreConfirmedBeforeThePIN(t *testing.T) {
	withAndWithoutPrompt(t, func(t *testing.T, inkan string) {
		fake := startFake(t)
		fake.ConfirmFewTries()
		fake.SetTries(3)
		term := startThere(t, fake, inkan, "pin", "verify")
		term.expect("Tries of the PIN left: 3. When none is left the card is locked.")
		term.expect(confirmed)
		term.typeKeys("123456\r") // the PIN, by habit
		term.expect("That is not it.\r\n" + confirmed)
		term.typeKeys("3\r")
		term.expect("PIN (not shown; Ctrl-C cancels): ")
		term.typeKeys("123456\r")
		term.end(0)
		if got := term.output(); strings.Contains(got, "123456") || strings.Count(got, "PIN needed") != 1 || fake.Tries() != 10 {
			t.Errorf("%d tries are left, and the terminal shows %q", fake.Tries(), got)
		}
		if strings.Contains(string(fake.Wire()), "123456") {
			t.Error("what was typed went to inkand")
		}
	})
}

func TestAConfirmationThatIsNotGivenSpendsNothing(t *testing.T) {
	withAndWithoutPrompt(t, func(t *testing.T, inkan string) {
		for name, keys := range map[string]string{"Ctrl-C": "3\x03", "Ctrl-D": "\x04", "Ctrl-C at the PIN": "3\r\x03"} {
			fake := startFake(t)
			fake.ConfirmFewTries()
			fake.SetTries(3)
			term := startThere(t, fake, inkan, "pin", "verify")
			term.expect(confirmed)
			term.typeKeys(keys)
			term.end(9)
			if fake.Tries() != 3 || fake.Answers() != 0 {
				t.Errorf("%s: %d tries are left and %d answers were sent, want 3 and 0", name, fake.Tries(), fake.Answers())
			}
		}
	})
}

func TestAConfirmationInJapanese(t *testing.T) {
	fake := startFake(t)
	fake.ConfirmFewTries()
	fake.SetTries(2)
	term := startOnTerminal(t, fake, "--lang", "ja", "pin", "verify")
	term.expect("暗証番号の残りは2回です。なくなるとカードはロックされます。\r\n続けるには「2」と半角で入力してください(Ctrl-Cで取消し): ")
	term.typeKeys("2\r")
	term.expect("暗証番号(表示されません。Ctrl-Cで取消し): ")
	term.typeKeys("123456\r")
	term.end(0)
}

func TestAHeldCardIsConfirmedWithoutASecret(t *testing.T) {
	withAndWithoutPrompt(t, func(t *testing.T, inkan string) {
		fake := startFake(t)
		fake.SetTries(3)
		fake.Hold()
		term := startThere(t, fake, inkan, "acknowledge")
		term.expect(confirmed)
		term.typeKeys("3\r")
		term.end(0)
		if got := term.output(); strings.Contains(got, "(not shown") || !strings.Contains(term.stdout.String(), "State of the card: low") {
			t.Errorf("the terminal shows %q, stdout %q", got, term.stdout.String())
		}
	})
}

func TestChangingThePINShowsNoneOfThem(t *testing.T) {
	withAndWithoutPrompt(t, func(t *testing.T, inkan string) {
		fake := startFake(t)
		term := startThere(t, fake, inkan, "pin", "change")
		term.expect("PIN (not shown")
		term.typeKeys("123456\r")
		term.expect("New PIN (not shown")
		term.typeKeys("864209\r")
		term.expect("New PIN once more (not shown")
		term.typeKeys("864209\r")
		term.end(0)
		if got := term.output(); strings.Contains(got, "123456") || strings.Contains(got, "864209") || !fake.PINIs("864209") {
			t.Errorf("the terminal shows %q", got)
		}
	})
}

// To inkand an inkan without inkan-prompt is any program.
func TestWithoutTheTrustedPromptARefusalSaysSo(t *testing.T) {
	fake := startFake(t)
	_, err := os.Stat("/usr/libexec/inkan/inkan-prompt") // Inkan may be installed here
	for _, tc := range []struct {
		inkan string
		said  bool
	}{{inkanAlone(t), err != nil}, {"inkan", false}} {
		fake.FailNext("VerifyPin", clientfake.StatusError(inkanpb.Reason_REASON_PIN_SOURCE_REFUSED, "detail", "last tries"))
		term := startThere(t, fake, tc.inkan, "pin", "verify")
		term.end(4)
		if got := strings.Contains(term.stderr.String(), "(the trusted prompt, inkan-prompt, is neither beside inkan nor in /usr/libexec/inkan"); got != tc.said {
			t.Errorf("stderr is %q, want the missing prompt in it: %v", term.stderr.String(), tc.said)
		}
	}
}

// Where inkan-prompt does not trust the socket, inkan does not ask instead.
func TestAPromptThatDoesNotStartSaysWhyWhenAPINIsNeeded(t *testing.T) {
	fake := startFake(t)
	dir := filepath.Join(filepath.Dir(fake.PINSocket), "shared")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o777), os.Link(fake.PINSocket, filepath.Join(dir, "pin.sock"))); err != nil {
		t.Fatal(err)
	}
	fake.PINSocket = filepath.Join(dir, "pin.sock")
	term := startOnTerminal(t, fake, "pin", "verify")
	term.end(9)
	if got := term.stderr.String(); !strings.Contains(got, "INK-1007") || !strings.Contains(got, "(inkan-prompt: the PIN socket is not trusted, no PIN is asked for: "+dir) {
		t.Errorf("stderr is %q", got)
	}
	if strings.Contains(term.output(), "PIN") {
		t.Errorf("somebody asked: %q", term.output())
	}
	term = startOnTerminal(t, fake, "sign", "--key", "9e", "--in", "/dev/null", "--json")
	term.end(0)
	if term.stderr.Len() != 0 {
		t.Errorf("a key without PIN: stderr is %q", term.stderr.String())
	}
}

func TestStoppingACardIsNotDoneUnlessBothAreTyped(t *testing.T) {
	for _, tc := range []struct{ name, word, tail string }{
		{"Ctrl-C", "\x03", ""},
		{"Ctrl-D", "\x04", ""},
		{"another word", "yes\r", ""},
		{"Ctrl-C at the serial", "stop\r", "\x03"},
		{"nothing at the serial", "stop\r", "\r"},
		{"too much at the serial", "stop\r", strings.Repeat("f", 65) + "\r"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fake := startFake(t)
			term := startOnTerminal(t, fake, "card", "stop", "--card", clientfake.CardID)
			term.expect("type stop: ")
			term.typeKeys(tc.word)
			if tc.tail != "" {
				term.expect("its serial: ")
				term.typeKeys(tc.tail)
			}
			term.end(9)
			if got := term.stderr.String(); !strings.Contains(got, "the card was not stopped: ") {
				t.Errorf("stderr is %q", got)
			}
		})
	}
}
