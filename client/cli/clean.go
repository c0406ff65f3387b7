package cli

import (
	"strings"
	"unicode"
)

// clean makes a word of a card, a program or the service safe to print: what
// could move the cursor, change colours or turn the direction of writing
// around becomes U+FFFD. The ideographic space of Japanese names stays.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || r == '\u3000' {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}
