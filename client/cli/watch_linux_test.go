package cli_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/inkan-project/inkan/client/internal/clientfake"
)

// anew stops an inkand and starts another in its place.
func anew(t *testing.T, fake *clientfake.Server, between func()) *clientfake.Server {
	t.Helper()
	fake.Stop()
	between()
	next, err := clientfake.Start(filepath.Dir(fake.Socket))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(next.Stop)
	return next
}

// interrupted ends a watch as Ctrl-C does, which is no error.
func interrupted(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("watch ended with %v, want 0", err)
	}
}

func TestWatchWritesALineForEachChangeAndGoesOnWithTheNextInkand(t *testing.T) {
	fake := startFake(t)
	cmd := command(fake, "status", "--watch", "--lang", "ja")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	expect := func(patterns ...string) {
		t.Helper()
		for _, p := range patterns {
			if !lines.Scan() || !regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  `+p).MatchString(lines.Text()) {
				t.Fatalf("got line %q, want %s", lines.Text(), p)
			}
			if strings.Contains(lines.Text(), "\x1b") {
				t.Errorf("a control sequence in %q", lines.Text())
			}
		}
	}
	const card = `カード piv-00112233445566778899aabbccddeeff`
	expect(`inkand: v0\.0\.0-fake \(`, `状態: 署名できます$`, `リーダ Inkan Virtual Reader 00: カードあり$`,
		card+`: 使用可、暗証番号 残り回数 10 / 10、`, card+` 証明書 1: 有効 2028-12-31 まで `, card+` 証明書 2: `, card+` 証明書 3: `)
	fake.SetTries(2)
	expect(`状態: 署名できます。ただし`, card+`: 残りわずか、暗証番号 残り回数 2 / 10、`)
	fake.TakeCardOut()
	expect(`状態: 署名できません: リーダにICカードがありません$`, `リーダ Inkan Virtual Reader 00: カードなし$`,
		card+`: なくなりました$`, card+` 証明書 1: なくなりました$`, card+` 証明書 2: `, card+` 証明書 3: `)
	anew(t, fake, func() { expect(`inkand: inkandが応答しません \(INK-5011\)。再開を待っています$`) })
	expect(`inkand: v0\.0\.0-fake \(`, `状態: 署名できます$`, `リーダ .*: カードあり$`, card+`: 使用可`)
	interrupted(t, cmd)
}

func TestWatchWithJSONGoesOnWithTheNextInkand(t *testing.T) {
	fake := startFake(t)
	cmd := command(fake, "status", "--watch", "--json")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for range 2 { // also what looks the same is told again: who reads must know that it is back
		if !lines.Scan() || !strings.HasPrefix(lines.Text(), `{"sequence":1,`) {
			t.Fatalf("got line %q, want the first state", lines.Text())
		}
		fake = anew(t, fake, func() {})
	}
	interrupted(t, cmd)
	if !strings.Contains(stderr.String(), "inkan: inkand does not answer (INK-5011); waiting for it") {
		t.Errorf("stderr is %q", stderr.String())
	}
}

// A terminal shows one page, drawn anew in the same place, with nothing of the
// one before left and no line that breaks.
func TestWatchOnATerminalDrawsOnePage(t *testing.T) {
	fake := startFake(t)
	term := prepareThere(t, fake, "inkan", "status", "--watch", "--lang", "ja")
	term.cmd.Stdout = term.slave
	if err := unix.IoctlSetWinsize(int(term.slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: 60, Row: 40}); err != nil {
		t.Fatal(err)
	}
	term.start()
	term.expect("署名できます\x1b[0m\x1b[K")
	term.expect("Ctrl-C で終了。")
	fake.SetTries(0)
	term.expect("署名できません: カードの状態が「ロック」です")
	anew(t, fake, func() { term.expect("inkandが応答しません (INK-5011)。再開を待っています") })
	term.expect("\x1b[32m使用可\x1b[0m")
	if err := term.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	term.end(0)
	pages := strings.Split(term.output(), "\x1b[H")
	for i, p := range pages[1:] {
		if erases := strings.HasPrefix(p, "\x1b[2J"); erases != (i == 0) || !strings.HasSuffix(strings.TrimRight(p, "^C\r\n"), "\x1b[J") {
			t.Errorf("page %d is %q", i, p)
		}
	}
}

// What does not fit is left out at the end: a terminal that scrolls would show
// the end of each page below the one before.
func TestAPageIsNeverHigherThanTheTerminal(t *testing.T) {
	fake := startFake(t)
	term := prepareThere(t, fake, "inkan", "status", "--watch")
	term.cmd.Stdout = term.slave
	if err := unix.IoctlSetWinsize(int(term.slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: 60, Row: 8}); err != nil {
		t.Fatal(err)
	}
	term.start()
	term.expect("more lines than this terminal has")
	term.expect("\x1b[J")
	if err := term.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	term.end(0)
	if n := strings.Count(term.output(), "\n"); n > 7 {
		t.Errorf("%d line ends on a terminal of 8 lines:\n%q", n, term.output())
	}
}

func TestColoursAreForTerminalsThatWantThem(t *testing.T) {
	fake := startFake(t)
	for _, tt := range []struct {
		env  string
		want bool
	}{{"X=", true}, {"NO_COLOR=1", false}, {"TERM=dumb", false}} {
		term := prepareThere(t, fake, "inkan", "status")
		term.cmd.Env = append(term.cmd.Env, "TERM=xterm", tt.env)
		term.cmd.Stdout = term.slave
		term.start()
		term.expect("identity")
		term.end(0)
		if got := strings.Contains(term.output(), "\x1b["); got != tt.want {
			t.Errorf("with %s: colours %t, want %t", tt.env, got, tt.want)
		}
	}
}

func TestWatchOnADumbTerminalWritesLines(t *testing.T) {
	fake := startFake(t)
	term := prepareThere(t, fake, "inkan", "status", "--watch")
	term.cmd.Env = append(term.cmd.Env, "TERM=dumb")
	term.cmd.Stdout = term.slave
	term.start()
	term.expect("status: Ready to sign")
	fake.TakeCardOut()
	term.expect("no card")
	if err := term.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	term.end(0)
	if strings.Contains(term.output(), "\x1b") {
		t.Errorf("control sequences in %q", term.output())
	}
}
