package apdu

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEveryCaseOfCommandRoundTrips(t *testing.T) {
	long := bytes.Repeat([]byte{0xAB}, 256)
	tests := []struct {
		name     string
		command  Command
		head     string // first bytes of the frame
		length   int
		extended bool
	}{
		{"case 1 has a header only", Command{INS: 0x20, P2: 0x80}, "00200080", 4, false},
		{"case 2 short has Le", Command{INS: 0xC0, Ne: 16}, "00C0000010", 5, false},
		{"case 2 short writes 256 as 00", Command{INS: 0xC0, Ne: 256}, "00C0000000", 5, false},
		{"case 2 extended", Command{INS: 0xCB, Ne: 257}, "00CB0000 000101", 7, true},
		{"case 2 extended writes 65536 as 0000", Command{INS: 0xCB, Ne: 65536}, "00CB0000 000000", 7, true},
		{"case 3 short", Command{INS: 0xA4, P1: 4, Data: []byte{1, 2}}, "00A40400 02 0102", 7, false},
		{"case 3 extended", Command{INS: 0xDB, Data: long}, "00DB0000 000100 AB", 263, true},
		{"case 4 short", Command{INS: 0xCB, Data: []byte{1}, Ne: 256}, "00CB0000 01 01 00", 7, false},
		{"case 4 is extended for a long answer", Command{INS: 0xCB, Data: []byte{1}, Ne: 65536}, "00CB0000 000001 01 0000", 10, true},
		{"case 4 is extended for long data", Command{INS: 0x87, Data: long, Ne: 256}, "00870000 000100 AB", 265, true},
		{"255 bytes are short", Command{INS: 0x87, Data: long[:255], Ne: 256}, "00870000 FF AB", 261, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b, err := test.command.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(b, unhex(t, test.head)) || len(b) != test.length {
				t.Errorf("frame = %d bytes %x, want %d bytes beginning %s", len(b), b, test.length, test.head)
			}
			if got := test.command.Extended(); got != test.extended {
				t.Errorf("Extended() = %v, want %v", got, test.extended)
			}
			back, err := ParseCommand(b)
			if diff := cmp.Diff(test.command, back); err != nil || diff != "" {
				t.Errorf("parsed back: %v, difference %s", err, diff)
			}
		})
	}
}

func TestCommandsOutOfRangeAreNotEncoded(t *testing.T) {
	for name, c := range map[string]Command{
		"too much data": {Data: make([]byte, 65536)},
		"Ne too large":  {Ne: 65537},
		"Ne negative":   {Ne: -1},
	} {
		if b, err := c.Bytes(); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %d bytes, error %v, want ErrMalformed", name, len(b), err)
		}
	}
}

func TestBrokenCommandsAreRefused(t *testing.T) {
	for _, frame := range []string{
		"", "00", "002000",
		"00200080 0831", "00200080 02 313233 34", // short Lc and what follows disagree
		"00CB0000 0001", "00CB0000 000000 01", // half a length, extended Lc 0
		"00CB0000 000002 01", "00CB0000 000001 01 00", // extended Lc disagrees, half an Le
	} {
		if c, err := ParseCommand(unhex(t, frame)); !errors.Is(err, ErrMalformed) {
			t.Errorf("ParseCommand(%s) = %+v, %v, want ErrMalformed", frame, c, err)
		}
	}
}

func TestResponseNeedsAStatusWord(t *testing.T) {
	r, err := ParseResponse(unhex(t, "0102 9000"))
	if diff := cmp.Diff(Response{Data: []byte{1, 2}, SW: SWOK}, r); err != nil || diff != "" {
		t.Errorf("got error %v, difference %s", err, diff)
	}
	for _, b := range [][]byte{nil, {0x90}, make([]byte, MaxResponse+1)} {
		if _, err := ParseResponse(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("ParseResponse of %d bytes: error %v, want ErrMalformed", len(b), err)
		}
	}
}

func TestStatusWordsAreRead(t *testing.T) {
	type reading struct {
		counter, more, le       int
		isCounter, isMore, isLe bool
	}
	for sw, want := range map[SW]reading{
		0x63C0: {counter: 0, isCounter: true},
		0x63CF: {counter: 15, isCounter: true},
		0x6300: {}, 0x6309: {}, 0x63D1: {}, 0x9000: {},
		0x6100: {more: 256, isMore: true},
		0x6110: {more: 16, isMore: true},
		0x6C00: {le: 256, isLe: true},
		0x6C05: {le: 5, isLe: true},
	} {
		var got reading
		got.counter, got.isCounter = sw.Counter()
		got.more, got.isMore = sw.More()
		got.le, got.isLe = sw.WrongLe()
		if got != want {
			t.Errorf("%s read as %+v, want %+v", sw, got, want)
		}
	}
}

func TestStatusWordsAreErrorsButOne(t *testing.T) {
	if err := (Response{SW: SWOK}).Err(); err != nil {
		t.Errorf("9000 is error %v", err)
	}
	err := Response{SW: SWBlocked}.Err()
	got, ok := errors.AsType[StatusError](err)
	if !ok || got.SW != SWBlocked || got.Error() != "card answered 6983 (blocked)" {
		t.Errorf("6983 is %v", err)
	}
	for n := range 1 << 16 { // every status word has words, and no two prefixes overlap
		if (StatusError{SW(n)}).Error() == "" {
			t.Fatalf("%04X has no text", n)
		}
	}
}

func TestSecretsAreMasked(t *testing.T) {
	for command, want := range map[string]string{
		"00200080 08 313233343536FFFF":                 "00200080 [secret]",
		"10200080 04 31323334":                         "10200080 [secret]",
		"00210080 04 31323334":                         "00210080 [secret]",
		"00240080 10 313233343536FFFF363534333231FFFF": "00240080 [secret]",
		"002C0080 10 3132333435363738363534333231FFFF": "002c0080 [secret]",
		"00200080 000008 313233343536FFFF":             "00200080 [secret]",
		"00200080":                                     "00200080",
		"0020":                                         "0020",
		"":                                             "",
		"00A40400 05 A000000308":                       "00a4040005a000000308",
		"01A40400 05 A000000308 00":                    "01a4040005a00000030800", // on another channel
		"00CB3FFF 05 5C035FC102 00":                    "00cb3fff055c035fc10200",
		"00C0000010":                                   "00c0000010",

		// What is not known to be harmless is left out.
		"00879A07 04 7C020102":                           "00879a07 [5 bytes left out]",
		"10879A07 04 7C020102":                           "10879a07 [5 bytes left out]",
		"00DB3FFF 03 313233":                             "00db3fff [left out]", // PUT DATA
		"00FE0000 03 313233":                             "00fe0000 [left out]", // whatever that is
		"80A40400 05 3132333435":                         "80a40400 [left out]", // a SELECT of somebody's own
		"0CA40400 05 3132333435":                         "0ca40400 [left out]", // under secure messaging
		"00A40000 05 3132333435":                         "00a40000 [left out]", // not by name
		"00A40400 11 3132333435363738393132333435363738": "00a40400 [left out]", // longer than a name
		"00CB3FFF 05 3132333435":                         "00cb3fff [left out]", // no tag list
		"00CB3FFF 09 5C0731323334353637":                 "00cb3fff [left out]",
		"00A40400 06 A000000308":                         "00a40400 [left out]", // not whole
	} {
		if got := Redact(unhex(t, command)); got != want {
			t.Errorf("Redact(%s) = %q, want %q", command, got, want)
		}
	}
}

func TestAnswersAreMasked(t *testing.T) {
	for answer, want := range map[string]string{
		"9000": "9000", "63C2": "63C2", "53023132 9000": "[4 bytes] 9000", "": "[0 bytes, no status word]", "90": "[1 bytes, no status word]",
	} {
		if got := RedactAnswer(unhex(t, answer)); got != want {
			t.Errorf("RedactAnswer(%s) = %q, want %q", answer, got, want)
		}
	}
}

// Whatever is sent as whatever command, nothing behind the header comes out of
// a trace but the name of an application and the tag that is asked for.
func FuzzNothingButHeadersIsShown(f *testing.F) {
	f.Add(unhex(f, "0020008008313233343536FFFF"))
	f.Add(unhex(f, "00A4040005A000000308"))
	f.Add(unhex(f, "00CB3FFF055C035FC10200"))
	f.Fuzz(func(t *testing.T, b []byte) {
		shown := Redact(b)
		if len(b) <= headerLength {
			return
		}
		name, tag := b[1] == insSelect && b[2] == selectByName, b[1] == insGetData && bytes.IndexByte(b, tagTagList) > 0
		_, err := ParseCommand(b)
		if c, _ := ParseCommand(b); err == nil && len(c.Data) == 0 && !carriesSecret(b[1]) {
			return // length fields alone
		}
		if rest := shown[2*headerLength:]; !strings.Contains(rest, "[") && !name && !tag {
			t.Errorf("%x is shown as %s", b, shown)
		}
		if carriesSecret(b[1]) && shown != hex.EncodeToString(b[:headerLength])+masked {
			t.Errorf("%x is shown as %s", b, shown)
		}
	})
}

func FuzzCommandRoundTrip(f *testing.F) {
	for _, s := range []string{
		"00200080", "00C0000010", "00CB0000000101", "00CB3FFF055C035FC10200",
		"00CB3FFF0000055C035FC1020000", "00A4040005A00000030800", "00CB000000",
	} {
		f.Add(unhex(f, s))
	}
	f.Add(append(unhex(f, "00879A07000100"), make([]byte, 256)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseCommand(b)
		if err != nil {
			return
		}
		again, err := c.Bytes()
		if err != nil {
			t.Fatalf("parsed %x cannot be encoded: %v", b, err)
		}
		// An extended frame of what fits a short one is legal, but not how we
		// would write it; every other frame comes back as it was.
		nonCanonical := len(b) > 5 && b[4] == 0 && !c.Extended()
		if !nonCanonical && !bytes.Equal(b, again) {
			t.Fatalf("%x came back as %x", b, again)
		}
		back, err := ParseCommand(again)
		if diff := cmp.Diff(c, back); err != nil || diff != "" {
			t.Fatalf("second reading: %v, difference %s", err, diff)
		}
	})
}
