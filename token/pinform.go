package token

import "fmt"

// Check returns a [*Error] of kind [KindPINMalformed] unless the PIN can be a
// PIN of this format. The empty PIN is always refused: to a card it is a
// question, not a PIN. The error never says which byte was wrong.
func (p *PIN) Check(f PINFormat) error { return p.checkForm(f, KindPINMalformed) }

// CheckCode is Check for an unlock code: its error is of kind
// [KindUnlockCodeMalformed].
func (p *PIN) CheckCode(f PINFormat) error { return p.checkForm(f, KindUnlockCodeMalformed) }

// CheckNew is Check for a PIN that is to become one: its error is of kind
// [KindNewPINRefused], also for PINs that others try first. That it is not the
// old one is for the caller to check, see [PIN.Equal].
//
// Dates are not refused: SP 800-63B-4 section 3.1.1.2 wants those refused that
// somebody would guess before the tries are used up, which are few here.
func (p *PIN) CheckNew(f PINFormat) error {
	if err := p.checkForm(f, KindNewPINRefused); err != nil {
		return err
	}
	switch secret := p.bytes(); {
	case isRow(secret, 0, 0):
		return Errorf(KindNewPINRefused, "it repeats one character").InJapanese("同じ文字の繰返し")
	case isRow(secret, 1, 9), isRow(secret, -1, -9): // 9 to 0 and 0 to 9 go on
		return Errorf(KindNewPINRefused, "it is a row up or down").InJapanese("連続した並び")
	case isPairs(secret):
		return Errorf(KindNewPINRefused, "it repeats pairs").InJapanese("2文字ずつの繰返し")
	case p.isCommon():
		return Errorf(KindNewPINRefused, "too many people use it").InJapanese("多くの人が使う番号")
	}
	return nil
}

func (p *PIN) checkForm(f PINFormat, kind Kind) error {
	n := p.Len()
	if n == 0 {
		return Errorf(kind, "it is empty").InJapanese("空です")
	}
	ok := true
	for _, b := range p.bytes() { // all of them: no early end to time
		ok = f.Allowed(b) && ok
	}
	if !ok {
		return Errorf(kind, "only %s are allowed", f.Charset).InJapanese("使える文字: " + charsetInJapanese(f.Charset))
	}
	if n < f.MinLength || n > f.MaxLength { // after the characters: full-width ones have three bytes each
		return Errorf(kind, "it must have %d to %d characters", f.MinLength, f.MaxLength).
			InJapanese(fmt.Sprintf("%d〜%d文字", f.MinLength, f.MaxLength))
	}
	return nil
}

// charsetInJapanese translates a [PINFormat]'s Charset, where it is known.
func charsetInJapanese(name string) string {
	switch name {
	case "digits":
		return "半角数字"
	case "letters and digits":
		return "半角英数字"
	case "printable ASCII":
		return "半角の英数字と記号"
	case "printable ASCII and spaces":
		return "半角の英数字、記号、空白"
	}
	return name
}

// isRow reports whether each character is so far from the one before it, where
// the digits go round: from 9 to 0 it is the step minus ten, -wrap.
func isRow(secret []byte, step, wrap int) bool {
	row := true
	for i := 1; i < len(secret); i++ {
		difference := int(secret[i]) - int(secret[i-1])
		round := difference == -wrap && isDigit(secret[i]) && isDigit(secret[i-1])
		row = row && (difference == step || round)
	}
	return row
}

// isPairs reports pairs of one and the same two characters, as in 121212, or
// of the same character twice, as in 112233. The last of an odd number counts
// for nothing in the second case.
func isPairs(secret []byte) bool {
	again, twins := true, true
	for i := 2; i < len(secret); i++ {
		again = again && secret[i] == secret[i-2]
	}
	for i := 1; i < len(secret); i += 2 {
		twins = twins && secret[i] == secret[i-1]
	}
	return again || twins
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

// isCommon reports a PIN of six to eight digits that is chosen far too often:
// repetitions, patterns on the keypad and numbers that people know by heart.
// Rows and pairs are not listed. All are compared: no early end to time.
func (p *PIN) isCommon() bool {
	common := false
	for _, public := range []string{
		"123123", "456456", "789789", "321321", "100100", "123321", "654456", "110110", "119119",
		"147258", "258369", "159753", "357159", "142536", "147896", "789456", "456123", "321654", "654123", "852456",
		"102030", "135790", "246810", "112358", "314159", "271828", "141421", "173205", "114514", "520131",
		"1234321", "7654567", "1472583", "5201314", "8675309",
		"12341234", "43214321", "12344321", "56785678", "20002000", "14725836", "15975346", "78945612",
		"10203040", "13579246", "24681357", "31415926", "27182818", "14142135", "11235813",
	} {
		common = p.EqualText(public) || common
	}
	return common
}
