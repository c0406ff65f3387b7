package cli

import (
	"io"
	"os"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/inkan-project/inkan/client/internal/words"
)

// field is a name, perhaps a state, and what is said of it.
type field struct {
	name, state, says string
	paint             paint // of the state
	under             bool  // it stands under what other fields say, not under their state
}

// printFields writes fields below each other, in columns that also line up
// where characters are twice as wide. On a terminal what is too long goes on in
// the next line, in its column; elsewhere each field is one line, for programs
// that read lines.
func (a *app) printFields(fields []field) {
	for _, line := range a.fieldLines(fields, a.width()) {
		a.outf("%s\n", line)
	}
}

// fieldLines lays fields out; width 0 means that lines have no end.
func (a *app) fieldLines(fields []field, width int) []string {
	names, states := 0, 0
	for _, f := range fields {
		names = max(names, cellsOf(f.name)+2)
		if f.state != "" {
			states = max(states, cellsOf(f.state)+2)
		}
	}
	var lines []string
	for _, f := range fields {
		indent, column := padded(f.name, names), names
		if f.state != "" || f.under {
			column += states
			indent += a.painted(f.paint, f.state) + strings.Repeat(" ", max(states-cellsOf(f.state), 0))
		}
		for _, line := range wrapped(words.Clean(f.says), width-column, width > 0) {
			lines = append(lines, strings.TrimRight(indent+line, " "))
			indent = strings.Repeat(" ", column)
		}
	}
	return lines
}

// paint is how a word is coloured on a terminal.
type paint string

// Colours: select graphic rendition, ECMA-48 section 8.3.117.
const (
	paintNone paint = ""
	paintGood paint = "32" // green
	paintNote paint = "33" // yellow
	paintBad  paint = "31" // red
	paintBold paint = "1"
)

// painted colours a word, on a terminal that wants colours and nowhere else.
func (a *app) painted(p paint, word string) string {
	if !a.colours || p == paintNone || word == "" {
		return word
	}
	return "\x1b[" + string(p) + "m" + word + "\x1b[0m"
}

// wantsColours reports whether the output is a terminal that shows colours, and
// nobody said that there should be none (no-color.org).
func wantsColours(w io.Writer) bool {
	cells, _ := terminalSize(w)
	return cells > 0 && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// cellsOf is how many cells of a terminal a text takes.
func cellsOf(s string) int { return text.StringWidthWithoutEscSequences(s) }

func padded(s string, cells int) string {
	return s + strings.Repeat(" ", max(cells-cellsOf(s), 0))
}

// leastColumn is the narrowest that text is broken into.
const leastColumn = 20

// wrapped breaks a text into lines of so many cells: at a space, or between two
// characters of which one is wide, as Japanese is written. What has no such
// place, an address, stays whole. A line does not begin with a mark that ends something.
func wrapped(s string, cells int, breaks bool) []string {
	if !breaks {
		return []string{s}
	}
	cells = max(cells, leastColumn)
	var lines []string
	for cellsOf(s) > cells {
		at := breakAt([]rune(s), cells)
		runes := []rune(s)
		lines = append(lines, strings.TrimRight(string(runes[:at]), " "))
		if s = strings.TrimLeft(string(runes[at:]), " "); s == "" {
			return lines
		}
	}
	return append(lines, s)
}

// breakAt returns after how many characters to break a text that is too long:
// at the last place that fits, else at the first there is.
func breakAt(runes []rune, cells int) int {
	used, best := 0, 0
	for i, r := range runes {
		if i > 0 && mayBreak(runes[i-1], r) && (best == 0 || used <= cells) {
			best = i
		}
		used += cellsOf(string(r))
		if best > 0 && used > cells {
			return best
		}
	}
	return len(runes)
}

// mayBreak reports whether a line may end between two characters.
func mayBreak(before, after rune) bool {
	if strings.ContainsRune("、。)」』,.;:)]}!?ー", after) || strings.ContainsRune("(「『([{", before) {
		return false
	}
	return before == ' ' || wide(before) || wide(after)
}

func wide(r rune) bool { return cellsOf(string(r)) > 1 }

// width is the width of the terminal that stdout is, 0 if it is none.
func (a *app) width() int {
	width, _ := terminalSize(a.stdout.w)
	return width
}
