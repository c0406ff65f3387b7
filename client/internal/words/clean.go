package words

import (
	"strings"
	"unicode"
)

// Clean makes a word of a card, a program or the service safe to print: what
// could move the cursor, change colours or turn the direction of writing
// around becomes U+FFFD.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if Printable(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// Printable reports whether a terminal only shows a character. The ideographic
// space of Japanese names is one of them.
func Printable(r rune) bool { return unicode.IsPrint(r) || r == '\u3000' }
