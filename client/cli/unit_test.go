package cli

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

func TestCleanLeavesWordsAndTakesControls(t *testing.T) {
	for in, want := range map[string]string{
		"株式会社　サンプル ㈱ ＡＢＣ": "株式会社　サンプル ㈱ ＡＢＣ",
		"a\x1b[31mb":         "a\uFFFD[31mb",
		"a\r\nb\tc\x00\x7f":  "a\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFD",
		"\u202e\u200b\u0085": "\uFFFD\uFFFD\uFFFD",
		"\xff":               "\uFFFD",
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestTriesAreANumberAtMostOneOrUnknown(t *testing.T) {
	for _, tc := range []struct {
		pin    *inkanpb.PinStatus
		en, ja string
	}{
		{&inkanpb.PinStatus{TriesLeft: proto.Uint32(9), TriesKnown: true}, "9", "9"},
		{&inkanpb.PinStatus{TriesLeft: proto.Uint32(9)}, "at most 9", "最大 9"},
		{&inkanpb.PinStatus{TriesKnown: true}, "unknown", "不明"},
		{nil, "unknown", "不明"},
	} {
		en, ja := (&app{lang: "en"}).pinTries(tc.pin), (&app{lang: "ja"}).pinTries(tc.pin)
		if en != tc.en || ja != tc.ja {
			t.Errorf("%v is %q and %q, want %q and %q", tc.pin, en, ja, tc.en, tc.ja)
		}
	}
	if got := pinToJSON(&inkanpb.PinStatus{TriesKnown: true}); got.TriesLeft != nil || got.TriesKnown {
		t.Errorf("unknown tries are %+v in JSON, want null and false", got)
	}
}

func TestEveryStateHasAJapaneseWord(t *testing.T) {
	a := &app{lang: "ja"}
	words := []string{}
	for n := range inkanpb.CardState_name {
		words = append(words, cardStateWord(inkanpb.CardState(n)))
	}
	for n := range inkanpb.CertificateState_name {
		words = append(words, certificateStateWord(inkanpb.CertificateState(n)))
	}
	for n := range inkanpb.PinPolicy_name {
		words = append(words, pinPolicyWord(inkanpb.PinPolicy(n)))
	}
	for n := range inkanpb.RecordKind_name {
		words = append(words, recordKindWord(inkanpb.RecordKind(n)))
	}
	for _, w := range words {
		if a.forPeople(w) == w {
			t.Errorf("%q has no Japanese word", w)
		}
	}
}

func key(card, slot, tail string) *inkanpb.Key {
	return &inkanpb.Key{Id: card + "." + tail, Slot: slot}
}

func TestAKeyIsNamedByIdentitySlotOrTail(t *testing.T) {
	keys := []*inkanpb.Key{key("piv-a.b", "9a", "aa11"), key("piv-a.b", "9c", "ab22"), key("piv-c", "9c", "9cff"), key("piv-c", "9e", "ab33")}
	for _, tc := range []struct {
		name, give, want string
		exit             exitCode
	}{
		{"the whole identity", "piv-c.9cff", "piv-c.9cff", 0},
		{"a slot of one card", "9A", "piv-a.b.aa11", 0},
		{"a slot of two cards", "9c", "", exitUsage},
		{"the beginning of one tail", "AA", "piv-a.b.aa11", 0},
		{"the beginning of two tails", "ab", "", exitUsage},
		{"one digit more", "ab3", "piv-c.ab33", 0},
		{"nothing like it", "zz", "", exitNotFound},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := (&app{lang: "en"}).pickKey(keys, tc.give)
			if got.GetId() != tc.want || exitOf(err) != tc.exit {
				t.Errorf("got %q, %v; want %q and exit code %d", got.GetId(), err, tc.want, tc.exit)
			}
			if tc.exit == exitUsage && !strings.Contains(err.Error(), "piv-c.") {
				t.Errorf("got %v, want the candidates in it", err)
			}
		})
	}
}

func TestACardIsNamedByIdentitySerialOrBeginning(t *testing.T) {
	one := []*inkanpb.CardStatus{{Id: "piv-0011", Serial: "0011"}}
	two := []*inkanpb.CardStatus{one[0], {Id: "piv-0022", Serial: "0022"}}
	for _, tc := range []struct {
		name  string
		cards []*inkanpb.CardStatus
		give  string
		want  string
		exit  exitCode
	}{
		{"the only one", one, "", "piv-0011", 0},
		{"one of two, not named", two, "", "", exitUsage},
		{"by serial", two, "0022", "piv-0022", 0},
		{"by identity", two, "piv-0011", "piv-0011", 0},
		{"by a beginning of both", two, "piv-00", "", exitUsage},
		{"no card at all", nil, "", "", exitNotFound},
		{"another card", one, "piv-0033", "", exitNotFound},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := (&app{lang: "en"}).pickCard(tc.cards, tc.give)
			if got.GetId() != tc.want || exitOf(err) != tc.exit {
				t.Errorf("got %q, %v; want %q and exit code %d", got.GetId(), err, tc.want, tc.exit)
			}
		})
	}
}

func TestAFullDiskIsAnError(t *testing.T) {
	var stderr bytes.Buffer
	if got := Main(t.Context(), "v", []string{"version"}, strings.NewReader(""), fullDisk{}, &stderr); got != int(exitOther) {
		t.Errorf("ended with %d, want %d", got, exitOther)
	}
	if !strings.Contains(stderr.String(), "inkan: writing output: no space") {
		t.Errorf("stderr is %q", stderr.String())
	}
}

type fullDisk struct{ io.Writer }

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space") }
