package apdu

import (
	"errors"
	"testing"
)

// A hostile card is not asked on: neither when it gives nothing for ever nor
// when it gives too much.
func TestExchangeStopsAtItsCaps(t *testing.T) {
	for name, test := range map[string]struct {
		answer []byte
		sent   int
	}{
		"parts without data":      {[]byte{0x61, 0x00}, 1 + maxResponseRounds},
		"parts of one byte":       {[]byte{0x01, 0x61, 0x01}, 1 + maxResponseRounds},
		"40,000 bytes in a part":  {append(make([]byte, 40000), 0x61, 0x00), 2},
		"64 KiB in the next part": {append(make([]byte, maxResponseData/2+1), 0x61, 0x00), 2},
	} {
		sent := 0
		card := cardFunc(func([]byte) ([]byte, error) { sent++; return test.answer, nil })
		_, err := Exchange(t.Context(), card, Command{INS: 0xCB, Ne: 256}, Options{})
		if !errors.Is(err, ErrTooLong) || sent != test.sent {
			t.Errorf("%s: %d commands, error %v, want %d and %v", name, sent, err, test.sent, ErrTooLong)
		}
	}
}
