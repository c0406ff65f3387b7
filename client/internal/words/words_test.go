package words

import "testing"

func TestCleanLeavesWordsAndTakesControls(t *testing.T) {
	for in, want := range map[string]string{
		"株式会社　サンプル ㈱ ＡＢＣ": "株式会社　サンプル ㈱ ＡＢＣ",
		"a\x1b[31mb":         "a\uFFFD[31mb",
		"a\r\nb\tc\x00\x7f":  "a\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFD",
		"\u202e\u200b\u0085": "\uFFFD\uFFFD\uFFFD",
		"\xff":               "\uFFFD",
	} {
		if got := Clean(in); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
}
