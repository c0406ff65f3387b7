package pivcard

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/inkan-project/inkan/pcsc/apdu"
)

// busyLife is a card's life with every kind of event.
func busyLife(t *testing.T) *Card {
	t.Helper()
	c := newCard(t)
	wantSWs(t, c, queryPIN, triesLeft(10), wrongPIN, triesLeft(9), wrongPIN, triesLeft(8), rightPIN, apdu.SWOK)
	if _, sw := sign(t, c, SlotSignature, P256, make([]byte, 32), true); sw != apdu.SWOK {
		t.Errorf("signing: %s", sw)
	}
	wantSWs(t, c, "00240080 10 393939393939FFFF"+newPIN, triesLeft(9), "00240080 10 313233343536FFFF"+newPIN, apdu.SWOK,
		wrongPIN, triesLeft(9), "002C0080 10"+wrongUnlock+newPIN, triesLeft(9), wrongPIN, triesLeft(8))
	c.Reset()
	wantSWs(t, c, selectPIV, apdu.SWOK, "002C0080 10"+rightUnlock+newPIN, apdu.SWOK, wrongPIN, triesLeft(9))
	return c
}

func TestCutAtAnyByteGivesTheTriesOfTheLastWholeLine(t *testing.T) {
	c := busyLife(t)
	log, err := os.ReadFile(filepath.Join(c.options.Dir, truthName))
	if err != nil {
		t.Fatal(err)
	}
	type tries struct{ PIN, Unlock int }
	var want tries // read without any code of the card
	for cut := 0; cut <= len(log); cut++ {
		if cut > 0 && log[cut-1] == '\n' {
			lines := bytes.Split(log[:cut-1], []byte{'\n'})
			var line struct {
				PIN    int `json:"pin_left"`
				Unlock int `json:"unlock_left"`
			}
			if err := json.Unmarshal(lines[len(lines)-1], &line); err != nil {
				t.Fatal(err)
			}
			want = tries{line.PIN, line.Unlock}
		}
		f, err := foldTruth(bytes.NewReader(log[:cut]))
		if got := (tries{f.truth.PINLeft, f.truth.UnlockLeft}); err != nil || got != want {
			t.Fatalf("cut at byte %d: tries %+v, %v, want %+v", cut, got, err, want)
		}
	}
}

func TestTornCardOpensAndGoesOn(t *testing.T) {
	c := busyLife(t)
	dir := c.options.Dir
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, truthName)
	log, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	first := bytes.IndexByte(log, '\n') + 1
	for end := len(log); end > first; end = bytes.LastIndexByte(log[:end-1], '\n') + 1 {
		for _, cut := range []int{end, end - 1, end - 30} { // whole, without newline, in the middle
			if err := os.WriteFile(path, log[:cut], 0o600); err != nil {
				t.Fatal(err)
			}
			before, err := ReadTruth(dir)
			if err != nil {
				t.Fatal(err)
			}
			c := open(t, dir)
			wantSW(t, c, selectPIV, apdu.SWOK)
			wantSW(t, c, wrongPIN, triesLeft(before.PINLeft-1))
			if got := truth(t, c); got.PINLeft != before.PINLeft-1 || got.Verifies != before.Verifies+1 {
				t.Errorf("cut at byte %d: before %+v, after one more try %+v", cut, before, got)
			}
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestDamagedCardIsNotRepaired(t *testing.T) {
	c := busyLife(t)
	dir := c.options.Dir
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(filepath.Join(dir, truthName))
	if err != nil {
		t.Fatal(err)
	}
	card, err := os.ReadFile(filepath.Join(dir, profileName))
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(log, []byte{'\n'})
	join := func(lines ...[]byte) []byte { return bytes.Join(lines, nil) }
	replace := func(old, by string) []byte { return bytes.Replace(log, []byte(old), []byte(by), 1) }
	tests := []struct {
		name      string
		log, card []byte
	}{
		{"truth log is gone", nil, card},
		{"truth log is empty", []byte{}, card},
		{"first line is torn", lines[0][:20], card},
		{"a line in the middle is gone", join(append([][]byte{lines[0], lines[1]}, lines[3:]...)...), card},
		{"a line in the middle is garbage", replace(`"event":"verify"`, `"event:"verify"`), card},
		{"the last line is garbage", append(bytes.Clone(log), "x\n"...), card},
		{"a try was written back", replace(`"pin_left":9`, `"pin_left":10`), card},
		{"a result has no debit", append(bytes.Clone(lines[0]), `{"seq":2,"event":"verify-result","ref":"80","pin_left":10,"unlock_left":10,"sw":"9000"}`+"\n"...), card},
		{"a line is endless", append(bytes.Clone(log), bytes.Repeat([]byte("x"), 2*maxTruthLine)...), card},
		{"an unknown field", replace(`"event":"verify"`, `"event":"verify","pin":"no"`), card},
		{"truth log is of another card", replace(`"guid":"494e4b56`, `"guid":"00000000`), card},
		{"card is gone", log, nil},
		{"card is empty", log, []byte("{}")},
		{"card is garbage", log, []byte("{")},
		{"a key is garbage", log, bytes.Replace(card, []byte(`"private_key": "MI`), []byte(`"private_key": "AA`), 1)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range map[string][]byte{truthName: test.log, profileName: test.card} {
				if content == nil {
					continue
				}
				if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if c, err := Open(Options{Dir: dir, Keys: cheapKeys()}); !errors.Is(err, ErrDamaged) {
				t.Errorf("Open = %v, %v, want ErrDamaged", c, err)
			}
			left, err := os.ReadFile(filepath.Join(dir, truthName))
			if test.log != nil && (err != nil || !bytes.Equal(left, test.log)) {
				t.Errorf("the log was changed: %v", err)
			}
		})
	}
}

func TestPersonalisationThatWasKilledStartsAgain(t *testing.T) {
	c := newCard(t)
	dir := c.options.Dir
	log, err := os.ReadFile(filepath.Join(dir, truthName))
	if err != nil {
		t.Fatal(err)
	}
	first := log[:bytes.IndexByte(log, '\n')+1]
	for _, cut := range []int{0, 10, len(first)} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, truthName), first[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		wantSWs(t, open(t, dir), selectPIV, apdu.SWOK, rightPIN, apdu.SWOK)
	}
}

func TestFoldAndRunningCardAgree(t *testing.T) {
	c := busyLife(t)
	got := truth(t, c)
	want := Truth{
		StatusQueries: 1, Verifies: 6, UnlockVerifies: 2, Changes: 2, Replaced: 2, Resets: 1,
		Commands:   map[byte]int{insSelect: 2, insVerify: 7, insGeneralAuthenticate: 1, insChangeReferenceData: 2, insResetRetryCounter: 2},
		Signatures: got.Signatures, PINLeft: 9, UnlockLeft: 10,
	}
	if diff := cmp.Diff(want, got); diff != "" || len(got.Signatures) != 1 {
		t.Errorf("truth differs: %s", diff)
	}
}
