package ttyprompt

import (
	"errors"
	"io"
	"unicode/utf8"

	"github.com/inkan-project/inkan/client"
)

// readConfirmation reads a line and reports whether it is what was asked for.
// Nothing of it is kept but how much fits: whoever types a PIN here by habit
// has not given it away. For the same reason it shows a star for all that does
// not fit. The keys are those of readEntry.
func readConfirmation(r *Reader, want string) (bool, error) {
	key := make([]byte, 1)
	defer clear(key)
	t := typed{want: want}
	for {
		if err := r.readByte(key); err != nil {
			if errors.Is(err, io.EOF) {
				return false, client.ErrCancel
			}
			return false, err
		}
		show := ""
		switch key[0] {
		case keyCtrlC, keyCtrlD:
			return false, client.ErrCancel
		case keyNewline, keyReturn:
			return t.length == len(want) && t.fits == t.length, nil
		case keyBackspace, keyDelete:
			show = t.back()
		case keyCtrlU:
			for len(t.characters) > 0 {
				show += t.back()
			}
		default:
			if key[0] >= 0x20 { // other control keys are no part of it
				show = t.add(key[0])
			}
		}
		if err := writeAll(r.fd, show); err != nil {
			return false, err
		}
	}
}

// typed is what is known of the line so far.
type typed struct {
	want       string
	length     int   // bytes typed
	fits       int   // bytes from the beginning that are as wanted
	characters []int // bytes of each character
}

// add takes one byte and returns what to show for it. A byte that begins with
// the bits 10 belongs to the character before it (RFC 3629 section 3).
func (t *typed) add(b byte) string {
	starts := utf8.RuneStart(b) || len(t.characters) == 0
	if starts {
		t.characters = append(t.characters, 0)
	}
	t.characters[len(t.characters)-1]++
	if t.fits == t.length && t.fits < len(t.want) && t.want[t.fits] == b {
		t.fits++
	}
	t.length++
	switch {
	case !starts:
		return ""
	case t.fits == t.length && b < utf8.RuneSelf:
		return string(rune(b))
	}
	return "*"
}

// back takes the last character back and returns what removes it from the
// terminal.
func (t *typed) back() string {
	if len(t.characters) == 0 {
		return ""
	}
	last := len(t.characters) - 1
	t.length -= t.characters[last]
	t.characters = t.characters[:last]
	t.fits = min(t.fits, t.length)
	return "\b \b"
}
