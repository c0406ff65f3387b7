package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/inkan-project/inkan/client/internal/words"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

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
	keys := []*inkanpb.Key{key("piv-a.b", "9a", "aa1144"), key("piv-a.b", "9c", "ab2222"), key("piv-c", "9c", "9cff00"), key("piv-c", "9e", "ab2233")}
	for _, tc := range []struct {
		name, give, want string
		exit             exitCode
	}{
		{"the whole identity", "piv-c.9cff00", "piv-c.9cff00", 0},
		{"a slot of one card", "9A", "piv-a.b.aa1144", 0},
		{"a slot of two cards", "9c", "", exitUsage},
		{"the beginning of one tail", "AA11", "piv-a.b.aa1144", 0},
		{"the beginning of two tails", "ab22", "", exitUsage},
		{"one digit more", "ab223", "piv-c.ab2233", 0},
		{"a slot that is empty, though a tail begins so", "aa", "", exitNotFound},
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
	if !strings.Contains(stderr.String(), "inkan: the output cannot be written: no space") {
		t.Errorf("stderr is %q", stderr.String())
	}
}

type fullDisk struct{ io.Writer }

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space") }

func TestJSONHoldsNoCharacterThatATerminalObeys(t *testing.T) {
	const hostile = "\u009b31m\x7f\u202e\u2066\u200b\U000e0041 \x1b\n株式会社　サンプル\"\\"
	for _, stream := range []bool{true, false} {
		var b bytes.Buffer
		a := &app{stdout: &stickyWriter{ctx: t.Context(), w: &b}}
		if err := a.printJSON([]string{hostile}, stream); err != nil {
			t.Fatal(err)
		}
		for _, r := range strings.ReplaceAll(b.String(), "\n", "") {
			if !words.Printable(r) {
				t.Errorf("%q holds %U", b.String(), r)
			}
		}
		var back []string
		if err := json.Unmarshal(b.Bytes(), &back); err != nil || len(back) != 1 || back[0] != hostile {
			t.Errorf("%q reads as %q, %v; want %q", b.String(), back, err, hostile)
		}
		if !strings.Contains(b.String(), "株式会社　サンプル") {
			t.Errorf("%q does not show Japanese as it is", b.String())
		}
	}
}

func TestWhyNoCardShowsThoughOneIsInserted(t *testing.T) {
	for _, tc := range []struct {
		problem string
		exit    exitCode
		text    string
	}{
		{"INK-2014", exitCard, "INK-2014 The card has no application"},
		{"INK-2015", exitCard, "INK-2015 Another program is using the card: Reader 00"},
	} {
		readers := []*inkanpb.ReaderStatus{{Name: "empty"}, {Name: "Reader 00", CardPresent: true, Problem: tc.problem}}
		err := hidden(t.Context(), nil, readers)
		if exitOf(err) != tc.exit || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%s is %v, want %q and exit code %d", tc.problem, err, tc.text, tc.exit)
		}
	}
	if err := hidden(t.Context(), nil, []*inkanpb.ReaderStatus{{Name: "empty"}}); err != nil {
		t.Errorf("an empty reader is %v, want nothing", err)
	}
}
