package manpage

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/inkan-project/inkan/client/cli"
)

var edition = Edition{Version: "1.2", Date: "2026-11-20"}

// TestAProgramsUsageBecomesItsPage: with all that roff would take for its own.
func TestAProgramsUsageBecomesItsPage(t *testing.T) {
	const usage = `prog is a program: it
does things.

  prog --do "a\\b" [-x]
      .does it

'tis all.

Exit codes: 0 well,
1 not.
`
	const want = `.TH "PROG" 8 "2026\-11\-20" "inkan 1.2" Inkan
.SH "NAME"
prog \- is a program: it does things
.SH "SYNOPSIS"
.PP
.nf
  prog \-\-do "a\e\eb" [\-x]
      .does it
.fi
.PP
\&'tis all.
.SH "EXIT STATUS"
0 well,
1 not.
`
	dir := t.TempDir()
	if err := Usage(dir, "prog.8", usage, edition); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "man8", "prog.8"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("page (-want +got):\n%s", diff)
	}
	for _, page := range []string{"prog", "prog.9", "prog.x", "other.8"} {
		if err := Usage(dir, page, usage, edition); err == nil {
			t.Errorf("a page %q is written", page)
		}
	}
}

// TestEachCommandHasAPageInBothLanguages: all options and the exit codes stand
// in them, and the same commands make the same pages.
func TestEachCommandHasAPageInBothLanguages(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	for _, dir := range []string{first, second} {
		if err := Inkan(dir, edition); err != nil {
			t.Fatal(err)
		}
	}
	read := func(dir, name string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for _, c := range cli.Commands("en").Commands() {
		if !c.IsAvailableCommand() || c.Name() == "help" {
			continue
		}
		for _, folder := range []string{"man1", "ja/man1"} {
			name := filepath.Join(folder, "inkan-"+c.Name()+".1")
			if read(first, name) != read(second, name) {
				t.Errorf("%s differs from one time to the next", name)
			}
		}
	}
	for name, wants := range map[string][]string{
		"man1/inkan.1":         {"  11  the log", ".SH \"COMMANDS\"", "\\fBinkand\\fR(8)", "\\fB\\-\\-socket\\fR \\fIpath\\fR"},
		"man1/inkan-sign.1":    {"\\fB\\-\\-key\\fR", ".SH \"EXAMPLES\"", ".SH \"COMMON OPTIONS\""},
		"ja/man1/inkan-sign.1": {".SH \"共通のオプション\"", "署名"},
	} {
		text := read(first, name)
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not hold %q:\n%s", name, want, text)
			}
		}
	}
}
