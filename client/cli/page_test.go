package cli

import (
	"strings"
	"testing"

	"github.com/inkan-project/inkan/client"
)

func TestLongTextsGoOnInTheirColumn(t *testing.T) {
	fields := []field{{name: "対処", says: "暗証番号を確認してから、もう一度入力してください(inkan status)。"}, {name: "Why", says: "a word that has anaddressthatisnotbrokenanywhere."}}
	for width, want := range map[int]string{
		0: "対処  暗証番号を確認してから、もう一度入力してください(inkan status)。\n" +
			"Why   a word that has anaddressthatisnotbrokenanywhere.",
		32: "対処  暗証番号を確認してから、も\n" +
			"      う一度入力してください\n" +
			"      (inkan status)。\n" +
			"Why   a word that has\n" +
			"      anaddressthatisnotbrokenanywhere.",
	} {
		if got := strings.Join((&app{}).fieldLines(fields, width), "\n"); got != want {
			t.Errorf("at %d cells:\n%s\nwant\n%s", width, got, want)
		}
	}
}

// Every text of the catalogue fits a narrow terminal, but for addresses, and
// loses nothing.
func TestEveryExplanationFitsANarrowTerminal(t *testing.T) {
	for _, lang := range []string{"en", "ja"} {
		for _, e := range client.Explanations(lang) {
			for _, s := range []string{e.Message, e.Why, e.Next, e.Who} {
				lines := wrapped(s, 44, true)
				for _, line := range lines {
					if cellsOf(line) > 44 {
						t.Errorf("%s: %q takes %d cells", e.Code, line, cellsOf(line))
					}
					if strings.HasPrefix(line, "。") || strings.HasPrefix(line, "、") {
						t.Errorf("%s: a line begins %q", e.Code, line)
					}
				}
				if plain := strings.NewReplacer(" ", ""); plain.Replace(strings.Join(lines, "")) != plain.Replace(s) {
					t.Errorf("%s: %q became %q", e.Code, s, lines)
				}
			}
		}
	}
}
