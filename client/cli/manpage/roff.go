package manpage

import (
	"fmt"
	"strings"
)

// document is a page in the making (man(7), groff_man(7)).
type document struct {
	strings.Builder
}

// title begins a page.
func (d *document) title(name string, section int, e Edition) {
	fmt.Fprintf(d, ".TH %s %d %s %s Inkan\n", quoted(strings.ToUpper(name)), section, quoted(e.Date), quoted("inkan "+e.Version))
}

func (d *document) heading(text string) { fmt.Fprintf(d, ".SH %s\n", quoted(text)) }

// item is a word with what it means.
func (d *document) item(word, meaning string) { fmt.Fprintf(d, ".TP\n%s\n%s\n", word, line(meaning)) }

// paragraph starts anew after what came before.
func (d *document) paragraph() { d.WriteString(".PP\n") }

// text writes text as it stands in a help: paragraphs are filled, lines that are
// indented stay as they are.
func (d *document) text(text string) {
	verbatim, began := false, false
	for l := range strings.SplitSeq(strings.Trim(text, "\n"), "\n") {
		switch indented := strings.HasPrefix(l, " "); {
		case strings.TrimSpace(l) == "":
			d.end(&verbatim)
			if began {
				d.paragraph()
				began = false
			}
			continue
		case indented && !verbatim:
			d.WriteString(".PP\n.nf\n")
			verbatim = true
		case !indented:
			d.end(&verbatim)
		}
		began = true
		d.WriteString(line(strings.TrimRight(l, " ")) + "\n")
	}
	d.end(&verbatim)
}

// verbatim writes lines as they are.
func (d *document) verbatim(text string) {
	d.WriteString(".nf\n")
	for l := range strings.SplitSeq(strings.Trim(text, "\n"), "\n") {
		d.WriteString(line(l) + "\n")
	}
	d.WriteString(".fi\n")
}

func (d *document) end(verbatim *bool) {
	if *verbatim {
		d.WriteString(".fi\n")
		*verbatim = false
	}
}

// line escapes what roff would take for its own: backslashes, hyphens (which it
// would turn into typographic ones), and a line that looks like a request.
func line(s string) string {
	s = escaped(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		return `\&` + s
	}
	return s
}

func escaped(s string) string { return strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s) }

func bold(s string) string   { return `\fB` + escaped(s) + `\fR` }
func italic(s string) string { return `\fI` + escaped(s) + `\fR` }

// quoted makes one argument of a request.
func quoted(s string) string { return `"` + strings.ReplaceAll(escaped(s), `"`, `\(dq`) + `"` }
