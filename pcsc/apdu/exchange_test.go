package apdu

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"
)

// cardFunc is a card that is a function.
type cardFunc func(command []byte) ([]byte, error)

func (f cardFunc) Transmit(_ context.Context, command []byte) ([]byte, error) { return f(command) }

// script answers in order and keeps what it was sent.
type script struct {
	t       *testing.T
	answers []string
	sent    [][]byte
}

func (s *script) Transmit(_ context.Context, command []byte) ([]byte, error) {
	s.sent = append(s.sent, slices.Clone(command))
	if len(s.answers) == 0 {
		s.t.Fatalf("unexpected command %x", command)
	}
	answer := unhex(s.t, s.answers[0])
	s.answers = s.answers[1:]
	return answer, nil
}

func TestExchangeSpeaksTheProtocol(t *testing.T) {
	read := Command{INS: 0xCB, P1: 0x3F, P2: 0xFF, Data: []byte{0x5C, 0}, Ne: 65536}
	tests := []struct {
		name    string
		command Command
		options Options
		answers []string
		sent    []string // first bytes of each command
		data    string
		sw      SW
	}{
		{"an answer is taken as it is", read, Options{Extended: true}, []string{"0102 9000"}, []string{"00CB3FFF 000002 5C00 0000"}, "0102", SWOK},
		{"short form caps Le", read, Options{}, []string{"01 9000"}, []string{"00CB3FFF 02 5C00 00"}, "01", SWOK},
		{
			"61xx is followed, also after an extended command", read,
			Options{Extended: true},
			[]string{"01 6100", "02 6101", "03 9000"},
			[]string{"00CB3FFF", "00C0000000", "00C0000001"},
			"010203", SWOK,
		},
		{
			"6Cxx is followed once",
			Command{INS: 0xCB, Ne: 1},
			Options{},
			[]string{"6C05", "6C06"},
			[]string{"00CB000001", "00CB000005"},
			"", 0x6C06,
		},
		{
			"6Cxx to GET RESPONSE is followed too",
			Command{INS: 0xCB, Ne: 256},
			Options{},
			[]string{"01 6110", "6C02", "0203 9000"},
			[]string{"00CB000000", "00C0000010", "00C0000002"},
			"010203", SWOK,
		},
		{
			"GET RESPONSE keeps the logical channel only",
			Command{CLA: 0x13, INS: 0xCB, Ne: 256},
			Options{},
			[]string{"6101", "02 9000"},
			[]string{"13CB", "03C0"},
			"02", SWOK,
		},
		{
			"GET RESPONSE after a proprietary class is interindustry",
			Command{CLA: 0x80, INS: 0x2A, Ne: 256},
			Options{},
			[]string{"6101", "02 9000"},
			[]string{"802A", "00C0"},
			"02", SWOK,
		},
		{
			"long data is chained",
			Command{INS: 0x87, Data: make([]byte, 511), Ne: 256},
			Options{},
			[]string{"9000", "9000", "05 9000"},
			[]string{"10870000FF", "10870000FF", "0087000001"},
			"05", SWOK,
		},
		{
			"long data goes in one piece where allowed",
			Command{INS: 0x87, Data: make([]byte, 511), Ne: 256},
			Options{Extended: true},
			[]string{"05 9000"},
			[]string{"008700000001FF"},
			"05", SWOK,
		},
		{
			"a chain ends when the card objects",
			Command{INS: 0x87, Data: make([]byte, 511)},
			Options{},
			[]string{"6884"},
			[]string{"10870000FF"},
			"", SWChaining,
		},
		{
			"a chain is not sent again for 6Cxx",
			Command{INS: 0x87, Data: make([]byte, 256), Ne: 256},
			Options{},
			[]string{"9000", "6C05"},
			[]string{"10870000FF", "0087000001"},
			"", 0x6C05,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			card := &script{t: t, answers: test.answers}
			r, err := Exchange(t.Context(), card, test.command, test.options)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(r.Data, unhex(t, test.data)) || r.SW != test.sw {
				t.Errorf("got %x %s, want %s %s", r.Data, r.SW, test.data, test.sw)
			}
			if len(card.sent) != len(test.sent) {
				t.Fatalf("%d commands were sent, want %d", len(card.sent), len(test.sent))
			}
			for i, head := range test.sent {
				if !bytes.HasPrefix(card.sent[i], unhex(t, head)) {
					t.Errorf("command %d = %x, want it to begin %s", i, card.sent[i], head)
				}
			}
		})
	}
}

func TestExchangeNeverSendsASecret(t *testing.T) {
	for _, ins := range []byte{0x20, 0x21, 0x24, 0x25, 0x2C, 0x2D} {
		card := &script{t: t}
		_, err := Exchange(t.Context(), card, Command{INS: ins, P2: 0x80, Data: []byte("12345678")}, Options{})
		if !errors.Is(err, ErrSecret) || len(card.sent) != 0 {
			t.Errorf("INS %02X: error %v, %d commands sent, want ErrSecret and none", ins, err, len(card.sent))
		}
	}
}

func TestExchangeSendsNothingOfABrokenCommand(t *testing.T) {
	card := &script{t: t}
	_, err := Exchange(t.Context(), card, Command{Data: make([]byte, 65536)}, Options{})
	if !errors.Is(err, ErrMalformed) || len(card.sent) != 0 {
		t.Errorf("error %v, %d commands sent, want ErrMalformed and none", err, len(card.sent))
	}
}

func TestExchangePassesFailuresOn(t *testing.T) {
	lost := errors.New("lost")
	for name, test := range map[string]struct {
		card cardFunc
		want error
	}{
		"transmitter's error": {func([]byte) ([]byte, error) { return nil, lost }, lost},
		"no answer":           {func([]byte) ([]byte, error) { return nil, nil }, ErrMalformed},
		"half a status word":  {func([]byte) ([]byte, error) { return []byte{0x90}, nil }, ErrMalformed},
		"endless 61xx":        {func([]byte) ([]byte, error) { return []byte{0x61, 0x00}, nil }, ErrTooLong},
		"64 KiB and one more": {func([]byte) ([]byte, error) { return append(make([]byte, 40000), 0x61, 0x00), nil }, ErrTooLong},
		"lost GET RESPONSE": {func(command []byte) ([]byte, error) {
			if command[1] == insGetResponse {
				return nil, lost
			}
			return []byte{0x61, 0x01}, nil
		}, lost},
	} {
		if _, err := Exchange(t.Context(), test.card, Command{INS: 0xCB, Ne: 256}, Options{}); !errors.Is(err, test.want) {
			t.Errorf("%s: error %v, want %v", name, err, test.want)
		}
	}
}

func TestExchangeAllocatesLittleForTheWorstCard(t *testing.T) {
	answer := append(make([]byte, 1020), 0x61, 0xFF)
	card := cardFunc(func([]byte) ([]byte, error) { return answer, nil })
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _ = Exchange(t.Context(), card, Command{INS: 0xCB, Ne: 256}, Options{})
	runtime.ReadMemStats(&after)
	// security.md T30 allows 4 MiB for one operation.
	if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
		t.Errorf("%d bytes allocated, want at most 4 MiB", used)
	}
}

// FuzzExchange lets a hostile card answer with pieces of the input: the first
// byte of each piece is its length.
func FuzzExchange(f *testing.F) {
	f.Add([]byte{2, 0x90, 0x00}, 300, false)
	f.Add([]byte{2, 0x61, 0x00, 4, 1, 2, 0x61, 0x10, 2, 0x6C, 0x05}, 10, true)
	f.Add([]byte{0}, 0, true)
	f.Add(bytes.Repeat([]byte{5, 1, 2, 3, 0x61, 0xFF}, 80), 70000, false)
	f.Fuzz(func(t *testing.T, tape []byte, length int, extended bool) {
		length &= 0x1FFFF
		sent, at := 0, 0
		card := cardFunc(func(command []byte) ([]byte, error) {
			sent++
			if _, err := ParseCommand(command); err != nil {
				t.Fatalf("sent a malformed command: %v", err)
			}
			if at >= len(tape) {
				at = 0
			}
			if len(tape) == 0 {
				return nil, nil
			}
			end := min(at+1+int(tape[at]), len(tape))
			answer := tape[at+1 : end]
			at = end
			return answer, nil
		})
		r, err := Exchange(t.Context(), card, Command{INS: 0xCB, Data: make([]byte, length), Ne: 256}, Options{Extended: extended})
		if most := length/maxShortData + 2 + maxResponseRounds + 1; sent > most {
			t.Fatalf("%d commands sent, want at most %d", sent, most)
		}
		if err == nil && len(r.Data) > maxResponseData {
			t.Fatalf("%d bytes accepted", len(r.Data))
		}
	})
}
