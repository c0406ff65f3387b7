package pivcard

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/inkan-project/inkan/pcsc/apdu"
)

var errKilled = errors.New("killed here")

// dyingFile stops for good at its nth operation; a write may get half through.
type dyingFile struct {
	appender
	left int
	half bool
}

func (f *dyingFile) step() error {
	f.left--
	if f.left < 0 {
		return errKilled
	}
	return nil
}

func (f *dyingFile) Write(b []byte) (int, error) {
	if err := f.step(); err != nil {
		if f.half && f.left == -1 {
			_, _ = f.appender.Write(b[:len(b)/2])
		}
		return 0, err
	}
	return f.appender.Write(b)
}

func (f *dyingFile) Sync() error {
	if err := f.step(); err != nil {
		return err
	}
	return f.appender.Sync()
}

// TestKillNeverGivesATryBackOnAnyVariant cuts the power at each step of what
// spends a try on cards that count in their own way.
func TestKillNeverGivesATryBackOnAnyVariant(t *testing.T) {
	for name, guess := range map[string]string{"limit-3": wrongPIN, "empty-verify-burns": queryPIN, "last-blocked": wrongPIN} {
		for step := range 5 {
			c := variant(t, name)
			dir, left := c.options.Dir, truth(t, c).PINLeft
			limit := left
			_ = c.Close()
			for range 3 * limit {
				c := open(t, dir)
				wantSW(t, c, selectPIV, apdu.SWOK)
				c.truth.file = &dyingFile{appender: c.truth.file, left: step, half: true}
				send(t, c, guess)
				_ = c.Close()
				now, err := ReadTruth(dir)
				if err != nil {
					t.Fatal(err)
				}
				if now.PINLeft > left {
					t.Fatalf("%s, killed at step %d: tries rose from %d to %d", name, step, left, now.PINLeft)
				}
				left = now.PINLeft
			}
			if step >= 1 && left != 0 {
				t.Errorf("%s, killed at step %d: %d tries left behind %d kills, want 0", name, step, left, 3*limit)
			}
		}
	}
}

// TestKillAtAnyStepNeverGivesAGuessAway is somebody who cuts the power at the
// same step of every VERIFY, hoping for more than ten answers.
func TestKillAtAnyStepNeverGivesAGuessAway(t *testing.T) {
	for _, half := range []bool{false, true} {
		for step := range 5 { // 4 = lives: write, sync, write, sync are all there is
			t.Run(fmt.Sprintf("step %d, half a line %v", step, half), func(t *testing.T) {
				dir := t.TempDir()
				open(t, dir).Close()
				told, left := 0, Tries
				for range 3 * Tries {
					c := open(t, dir)
					wantSW(t, c, selectPIV, apdu.SWOK)
					c.truth.file = &dyingFile{appender: c.truth.file, left: step, half: half}
					r := send(t, c, wrongPIN)
					if _, counted := r.SW.Counter(); counted {
						told++
					}
					if r.SW == apdu.SWMemoryFailure {
						wantSW(t, c, rightPIN, apdu.SWMemoryFailure) // never again in this life
					}
					_ = c.Close()
					now, err := ReadTruth(dir)
					if err != nil {
						t.Fatal(err)
					}
					if now.PINLeft > left {
						t.Fatalf("tries rose from %d to %d", left, now.PINLeft)
					}
					left = now.PINLeft
				}
				if told > Tries-left {
					t.Errorf("%d answers about the PIN for %d tries", told, Tries-left)
				}
				if step >= 1 && left != 0 {
					t.Errorf("%d tries left after 30 kills behind the first write, want 0", left)
				}
			})
		}
	}
}

func TestKillAroundASuccessNeverCostsMoreThanItsTry(t *testing.T) {
	for step := range 5 {
		c := newCard(t)
		wantSW(t, c, wrongPIN, triesLeft(9))
		c.truth.file = &dyingFile{appender: c.truth.file, left: step, half: true}
		r := send(t, c, rightPIN)
		_ = c.Close()
		left := truth(t, c).PINLeft
		if lives := step == 4; lives != (r.SW == apdu.SWOK) { // no answer leaves before it is on disk
			t.Errorf("killed at step %d: answer %s", step, r.SW)
		}
		if r.SW == apdu.SWOK && left != Tries || left < 8 || left == Tries && step < 3 {
			t.Errorf("killed at step %d: answer %s, %d tries left", step, r.SW, left)
		}
	}
}

// syncHook runs something at the first sync.
type syncHook struct {
	appender
	hook func()
}

func (f *syncHook) Sync() error {
	if f.hook != nil {
		f.hook()
		f.hook = nil
	}
	return f.appender.Sync()
}

func TestTryIsOnDiskBeforeThePINIsCompared(t *testing.T) {
	c := newCard(t)
	var atSync Truth
	c.truth.file = &syncHook{appender: c.truth.file, hook: func() {
		atSync = truth(t, c)
		// Whoever has compared by now takes the PIN for right.
		c.profile.PIN.Masked[0] ^= 1
	}}
	wantSW(t, c, rightPIN, triesLeft(9))
	if atSync.PINLeft != 9 || atSync.Verifies != 1 {
		t.Errorf("truth when the try is synced: %+v, want 9 tries left and 1 verify", atSync)
	}
}

func TestNoSignatureLeavesWithoutItsRecord(t *testing.T) {
	for step := range 2 {
		c := newCard(t)
		wantSW(t, c, rightPIN, apdu.SWOK)
		c.truth.file = &dyingFile{appender: c.truth.file, left: step}
		if signature, sw := sign(t, c, SlotAuthentication, P256, make([]byte, 32), true); signature != nil || sw != apdu.SWMemoryFailure {
			t.Errorf("killed at step %d: %d bytes of signature, %s, want none and 6581", step, len(signature), sw)
		}
	}
}

func TestChangeThatCannotBeWrittenEndsTheCardsLife(t *testing.T) {
	c := newCard(t)
	c.options.Dir += "/gone"
	wantSWs(t, c, "00240080 10 313233343536FFFF"+newPIN, apdu.SWMemoryFailure, rightPIN, apdu.SWMemoryFailure)
	c.options.Dir = strings.TrimSuffix(c.options.Dir, "/gone")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, c.options.Dir)
	wantSWs(t, again, selectPIV, apdu.SWOK, queryPIN, triesLeft(9), rightPIN, apdu.SWOK)
}

// childDir tells the test binary to be a card that is about to be killed.
const childDir = "INKAN_TEST_PIVCARD_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		os.Exit(guessUntilKilled(dir))
	}
	os.Exit(m.Run())
}

// guessUntilKilled prints each answer to a wrong PIN.
func guessUntilKilled(dir string) int {
	c, err := Open(Options{Dir: dir, Keys: cheapKeys()})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	c.Transmit([]byte("\x00\xA4\x04\x00\x05\xA0\x00\x00\x03\x08"))
	for {
		answer := c.Transmit([]byte("\x00\x20\x00\x80\x08999999\xFF\xFF"))
		fmt.Printf("%X\n", answer)
	}
}

func TestKilledProcessNeverGivesATryBack(t *testing.T) {
	dir := t.TempDir()
	open(t, dir).Close()
	told := 0
	for life := range 2 * Tries { // each is killed after its first or second answer
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childDir+"="+dir)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		answers := bufio.NewScanner(out)
		for range 1 + life%2 {
			if answers.Scan() && strings.HasPrefix(answers.Text(), "63C") {
				told++
			}
		}
		_ = child.Process.Kill()
		for answers.Scan() { // what was still in the pipe was told too
			if strings.HasPrefix(answers.Text(), "63C") {
				told++
			}
		}
		_ = child.Wait()
		now, err := ReadTruth(dir)
		if err != nil {
			t.Fatal(err)
		}
		if told > Tries-now.PINLeft {
			t.Fatalf("%d answers about the PIN, but only %d tries are gone", told, Tries-now.PINLeft)
		}
	}
	if now, err := ReadTruth(dir); err != nil || now.PINLeft != 0 {
		t.Errorf("after 20 lives: %+v, %v, want no tries left", now, err)
	}
}
