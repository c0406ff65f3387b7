package catalogue

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

func TestEveryReasonIsComplete(t *testing.T) {
	placeholder := regexp.MustCompile(`\{[a-z_]+\}`)
	for number := range inkanpb.Reason_name {
		r := inkanpb.Reason(number)
		if r == inkanpb.Reason_REASON_UNSPECIFIED {
			continue
		}
		e := entry(r)
		for what, text := range map[string]string{
			"en": e.GetEn(), "ja": e.GetJa(), "next_en": e.GetNextEn(), "next_ja": e.GetNextJa(),
			"cause_en": e.GetCauseEn(), "cause_ja": e.GetCauseJa(), "who": In("en", r, nil).Who, "who_ja": In("ja", r, nil).Who,
		} {
			if text == "" {
				t.Errorf("%s has no %s text", r, what)
			}
		}
		en, ja := placeholder.FindAllString(e.GetEn(), -1), placeholder.FindAllString(e.GetJa(), -1)
		slices.Sort(en)
		slices.Sort(ja)
		if !slices.Equal(slices.Compact(en), slices.Compact(ja)) {
			t.Errorf("%s: English names %v, Japanese %v", r, en, ja)
		}
		for _, lang := range []string{"en", "ja"} {
			if text := In(lang, r, nil); strings.ContainsAny(text.Message+text.Next, "[]{}") {
				t.Errorf("%s without values: %q", r, text)
			}
		}
		if c := Status(r); c == codes.OK || c > codes.Unauthenticated {
			t.Errorf("%s has gRPC code %v", r, c)
		}
		for _, text := range []string{Name(r), strings.ToLower(Code(r)), Code(r), " " + strings.TrimPrefix(Code(r), "INK-"), r.String(), strings.ReplaceAll(Name(r), "_", "-")} {
			if got, ok := Parse(text); got != r || !ok {
				t.Errorf("%q is taken for %s", text, got)
			}
		}
		if slices.Contains(e.GetWho(), inkanpb.Helper_HELPER_UNSPECIFIED) {
			t.Errorf("%s names a helper that is nobody", r)
		}
		if strings.Contains(e.GetCauseEn()+e.GetCauseJa(), "{") {
			t.Errorf("%s has a placeholder in its cause, which nobody fills", r)
		}
	}
}

// A client library repeats UNAVAILABLE by itself: only the client's own
// "cannot be reached" may have it.
func TestNoAnswerOfTheServiceInvitesARepeat(t *testing.T) {
	for number := range inkanpb.Reason_name {
		r := inkanpb.Reason(number)
		if Status(r) == codes.Unavailable && r != inkanpb.Reason_REASON_SERVICE_UNREACHABLE {
			t.Errorf("%s answers UNAVAILABLE", r)
		}
	}
}

func TestWhatIsNoReasonIsNotTakenForOne(t *testing.T) {
	for _, text := range []string{"", "INK-", "INK-0000", "0", "INK-9999", "INK-2008", "UNSPECIFIED", "REASON_UNSPECIFIED", "INK-99999999999999", "-1001", "PIN"} {
		if got, ok := Parse(text); ok || got != 0 {
			t.Errorf("%q is taken for %s", text, got)
		}
	}
}

func TestFill(t *testing.T) {
	values := map[string]string{"a": "1", "b": "{a}"}
	for template, want := range map[string]string{
		"plain":       "plain",
		"{a} and {b}": "1 and {a}",
		"{c}":         "?",
		"open {a":     "open {a",
		"":            "",
		"x[[ {a}]].":  "x 1.",
		"x[[ {c}]].":  "x.",
		"[[{a}{c}]]":  "",
		"{c}[[y]][[z": "?y[[z",
		"[[{b}]]{c}":  "{a}?",
	} {
		if got := fill(template, maps.Clone(values)); got != want {
			t.Errorf("fill(%q) = %q, want %q", template, got, want)
		}
	}
}
