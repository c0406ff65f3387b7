package errorpage_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/inkan-project/inkan/proto/catalogue"
	"github.com/inkan-project/inkan/proto/catalogue/errorpage"
)

func TestTheWrittenPagesAreThoseOfTheCatalogue(t *testing.T) {
	dir := t.TempDir()
	if err := errorpage.Write(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"errors.md", "ja/errors.md"} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", name))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("docs/%s is not what errors.proto says: run make generate", name)
		}
	}
}

func TestEveryReasonHasItsPlaceInBothPages(t *testing.T) {
	for _, language := range []string{"en", "ja"} {
		page := errorpage.Page(language)
		for _, r := range catalogue.Reasons() {
			_, anchor, _ := strings.Cut(catalogue.Page(language, r), "#")
			text := catalogue.In(language, r, nil)
			for _, want := range []string{`<a id="` + anchor + `">`, "`" + catalogue.Name(r) + "`", text.Cause, text.Who} {
				if strings.Count(page, want) == 0 {
					t.Errorf("the %s page lacks %q of %s", language, want, r)
				}
			}
		}
		if strings.Contains(page, "[[") || strings.Contains(page, "]]") {
			t.Errorf("the %s page shows brackets of the catalogue", language)
		}
	}
}
