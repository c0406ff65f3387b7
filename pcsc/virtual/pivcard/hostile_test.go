package pivcard

import (
	"bytes"
	"sync"
	"testing"

	"github.com/inkan-project/inkan/pcsc/apdu"
)

// memoryFile is a truth log without a disk.
type memoryFile struct{ bytes.Buffer }

func (f *memoryFile) Sync() error  { return nil }
func (f *memoryFile) Close() error { return nil }

// FuzzTransmit sends a card whatever there is: each command is a length byte
// and so many bytes.
func FuzzTransmit(f *testing.F) {
	tape := func(commands ...string) (b []byte) {
		for _, c := range commands {
			command := unhex(f, c)
			b = append(append(b, byte(len(command))), command...)
		}
		return b
	}
	f.Add(tape(selectPIV, rightPIN, queryPIN, wrongPIN))
	f.Add(tape(selectPIV, rightPIN, "0087119C 09 7C07 8200 8103 010203 00"))
	f.Add(tape(selectPIV, "0087119E 000009 7C07 8200 8103 010203 0000", "00C00000 10"))
	f.Add(tape(selectPIV, "1087119E 02 7C07", "0087119E 07 8200 8103 010203 00"))
	f.Add(tape(selectPIV, "00CB3FFF 05 5C03 5FC102 00", "00C00000 00", "00CB3FFF 03 5C01 7E 10"))
	f.Add(tape(selectPIV, "00240080 10 313233343536FFFF"+newPIN, "002C0080 10"+rightUnlock+newPIN))
	f.Add(tape(selectPIV, "00DB3FFF 0B 5C035FC109 5304 01020304", "00CB3FFF 05 5C03 5FC109 00"))
	f.Add(tape(selectPIV, "0047009E 05 AC03800111 00", "0087119E 09 7C07 8200 8103 010203 00"))
	f.Add(tape(selectPIV, "0087039B 04 7C028000 00", "0087039B 16 7C14 80080102030405060708 81080102030405060708 00"))
	f.Add(tape(selectPIV, "00FFFFFF 1B 039B18 010203040506070801020304050607080102030405060708"))
	f.Add(tape("", "00", "00A40400", "FFFFFFFFFFFFFF"))
	template := open(f, f.TempDir())
	f.Fuzz(func(t *testing.T, tape []byte) {
		log := &memoryFile{}
		c := &Card{
			options: template.options, keys: template.keys, profile: template.profile,
			truth: &truthLog{file: log, now: template.options.Now, limits: limits{pin: Tries, unlock: Tries}},
		}
		if err := c.truth.record(event{Event: eventMade, GUID: "00112233445566778899aabbccddeeff"}); err != nil {
			t.Fatal(err)
		}
		c.session.admin = len(tape)%2 == 1 // nobody guesses the management key
		pin, unlock := Tries, Tries
		for len(tape) > 0 {
			end := min(1+int(tape[0]), len(tape))
			command := tape[1:end]
			tape = tape[end:]
			answer := c.Transmit(command)
			if len(answer) < 2 || len(answer) > apdu.MaxResponse {
				t.Fatalf("%x answered %d bytes", command, len(answer))
			}
			ok := answer[len(answer)-2] == 0x90
			nowPIN, nowUnlock := c.truth.last.PINLeft, c.truth.last.UnlockLeft
			if (nowPIN > pin || nowUnlock > unlock) && !ok {
				t.Fatalf("%s raised the tries to %d and %d", apdu.Redact(command), nowPIN, nowUnlock)
			}
			pin, unlock = nowPIN, nowUnlock
		}
		if _, err := foldTruth(&log.Buffer); err != nil {
			t.Fatalf("the card wrote a log that it would not read: %v", err)
		}
	})
}

func FuzzTruth(f *testing.F) {
	f.Add([]byte(`{"seq":1,"time":"2026-11-20T00:00:00Z","event":"personalised","pin_left":10,"unlock_left":10,"guid":"00112233445566778899aabbccddeeff"}` + "\n" +
		`{"seq":2,"time":"2026-11-20T00:00:00Z","event":"verify","ref":"80","pin_left":9,"unlock_left":10}` + "\n"))
	f.Fuzz(func(t *testing.T, log []byte) {
		fold, err := foldTruth(bytes.NewReader(log))
		if err != nil {
			return
		}
		if got := fold.truth; got.PINLeft < 0 || got.PINLeft > maxLimit || got.UnlockLeft < 0 || got.UnlockLeft > maxLimit {
			t.Fatalf("believed %+v", got)
		}
	})
}

func TestCardDoesOneThingAtATime(t *testing.T) {
	c := newCard(t)
	var users sync.WaitGroup
	for range 3 {
		users.Go(func() { send(t, c, wrongPIN) })
		users.Go(func() { send(t, c, "00CB3FFF 05 5C03 5FC102 00") })
		users.Go(c.Reset)
		users.Go(func() {
			if _, err := ReadTruth(c.options.Dir); err != nil {
				t.Errorf("reading while the card runs: %v", err)
			}
		})
	}
	users.Wait()
	if got := truth(t, c); got.Verifies != 3 || got.Resets != 3 {
		t.Errorf("truth = %+v, want 3 verifies and 3 resets", got)
	}
}
