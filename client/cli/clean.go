package cli

import (
	"strings"
	"unicode"
)

// clean makes a word of a card, a program or the service safe to print: what
// could move the cursor, change colours or turn the direction of writing
// around becomes U+FFFD.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if printable(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// printable reports whether a terminal only shows a character. The ideographic
// space of Japanese names is one of them.
func printable(r rune) bool { return unicode.IsPrint(r) || r == '\u3000' }
