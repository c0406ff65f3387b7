package cardprofile_test

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/cardprofile"
)

// Cards of the tests.
const (
	yubikeyATR = "3BFD1300008131FE158073C021C057597562694B657940"
	virtualATR = "3BFA1800008131FE454A434F5033315632333298"
	otherATR   = "3BFA1800008131FE454A434F5033315632333299"
	card       = token.CardID("piv-00112233445566778899aabbccddeeff")
)

const (
	pinPart    = "[pin]\nmin_length = 6\nmax_length = 8\ncharset = \"digits\"\npad_to = 8\npad_byte = 0xFF\n"
	unlockPart = "[unlock_code]\nmin_length = 6\nmax_length = 8\ncharset = \"printable ASCII and spaces\"\npad_to = 8\npad_byte = 0xFF\ndefaults = [\"12345678\"]\n"
)

// text is a profile file; lines stand before its PIN.
func text(name string, lines ...string) string {
	head := []string{`name = "` + name + `"`, `application = "PIV"`, "limit = 5", "unlock_limit = 4"}
	return strings.Join(append(head, lines...), "\n") + "\n" + pinPart + unlockPart
}

func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func load(t *testing.T, files map[string]string) *cardprofile.Set {
	t.Helper()
	set, err := cardprofile.Load(folder(t, files))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestShippedProfilesAreThoseOfPIV(t *testing.T) {
	set, err := cardprofile.Shipped()
	if err != nil {
		t.Fatal(err)
	}
	for atr, want := range map[string]string{
		"": "piv", otherATR: "piv", virtualATR: "piv",
		"3BF81300008131FE15597562696B657934D4":             "piv-extended",
		"3BFD1300008131FE158073C021C057597562694B657940":   "piv-extended",
		"3BFD1300008131FE158073C021C057597562694B65794000": "piv",
	} {
		got := set.For("PIV", unhex(t, atr), card)
		if got.Name != want || got.Extended != (want == "piv-extended") {
			t.Errorf("ATR %s gets %q, extended %v, want %q", atr, got.Name, got.Extended, want)
		}
		if strict := got.Limit == 3 && got.UnlockLimit == 3 && !got.EmptyVerifySafe; strict != (want == "piv") {
			t.Errorf("%s: %+v: a card of which nothing is known gets three tries and is asked nothing, no other", got.Name, got)
		}
		if f := got.PIN; f.MinLength != 6 || f.MaxLength != 8 || f.PadTo != 8 || f.Pad != 0xFF || f.Charset != "digits" || !f.Allowed('0') || f.Allowed('a') {
			t.Errorf("%s: PIN format %+v, want that of PIV", got.Name, f)
		}
		if f := got.UnlockCode; f.MinLength != 6 || f.MaxLength != 8 || f.PadTo != 8 || f.Pad != 0xFF || !f.Allowed('a') || !f.Allowed(' ') || f.Allowed(0x7F) || f.Allowed(0x80) {
			t.Errorf("%s: unlock code format %+v, want six to eight printable characters", got.Name, f)
		}
		if diff := cmp.Diff([]string{"12345678", "00000000"}, got.DefaultUnlockCodes); diff != "" {
			t.Errorf("%s: factory defaults: %s", got.Name, diff)
		}
		if diff := cmp.Diff(token.PINWords{}, got.Words); diff != "" {
			t.Errorf("%s: words of its own: %s", got.Name, diff)
		}
	}
}

func TestACardThatFitsNoneGetsTheStrictest(t *testing.T) {
	set, err := cardprofile.Shipped()
	if err != nil {
		t.Fatal(err)
	}
	for _, application := range []string{"", "OpenPGP", "piv", "PIV "} {
		got := set.For(application, unhex(t, virtualATR), card)
		if got.Name != "strictest" || got.Limit != 3 || got.UnlockLimit != 3 || got.EmptyVerifySafe || got.Extended || got.PIN.Allowed == nil || got.UnlockCode.Allowed == nil {
			t.Errorf("application %q gets %+v, want three tries and nothing asked", application, got)
		}
	}
}

func TestTheClosestProfileIsChosen(t *testing.T) {
	set := load(t, map[string]string{
		"a.toml": text("by-mask", "[[atr]]", `value = "3BFA 18000081 31FE 45 4A434F5033315632333298"`, `mask = "FFFF 00000000 0000 00 0000000000000000000000"`),
		"b.toml": text("by-atr", "[[atr]]", `value = "`+otherATR+`"`),
		"c.toml": text("by-card", `cards = ["`+string(card)+`"]`),
		"d.toml": text("loose", "empty_verify_safe = true", "[[atr]]", `value = "3B0102"`, `mask = "FFFF00"`),
		"e.toml": text("strict", "[[atr]]", `value = "3B0102"`, `mask = "FF00FF"`),
	})
	for name, tt := range map[string]struct {
		atr  string
		card token.CardID
		want string
	}{
		"shipped by ATR":              {yubikeyATR, "", "piv-extended"},
		"shipped by identity":         {yubikeyATR, "piv-494e4b56aa", "virtual"},
		"beginning of an identity":    {yubikeyATR, "piv-494e4b5", "piv-extended"},
		"most bits: own":              {otherATR, "", "by-atr"},
		"mask alone":                  {"3BFA999999999999999999999999999999999999", "piv-1", "by-mask"},
		"other length":                {"3BFA99", "", "piv"},
		"none":                        {"3B00", "", "piv"},
		"no ATR":                      {"", "piv-1", "piv"},
		"identity before ATR":         {otherATR, card, "by-card"},
		"as many bits: the stricter":  {"3B0102", "", "strict"},
		"only the looser one matches": {"3B01FF", "", "loose"},
	} {
		if got := set.For("PIV", unhex(t, tt.atr), tt.card); got.Name != tt.want {
			t.Errorf("%s: %q, want %q", name, got.Name, tt.want)
		}
	}
}

func TestAFileSaysEverythingOfACard(t *testing.T) {
	set := load(t, map[string]string{"x.toml": `
name = "社員証"
application = "PIV"
limit = 15
unlock_limit = 3
empty_verify_safe = true
extended_length = true
cards = ["piv-1", "piv-2"]
[pin]
min_length = 4
max_length = 12
charset = "letters and digits"
pad_to = 12
pad_byte = 0
[unlock_code]
min_length = 10
max_length = 12
charset = "printable ASCII"
pad_to = 12
pad_byte = 0
defaults = ["0123456789"]
[words]
wrong = ["6982", "6985"]
counted = ["630x"]
blocked = ["63C0"]
`, "README": "not a profile", "y.toml.bak": "neither"})
	got := set.For("PIV", nil, "piv-2")
	allowed := ""
	for b := range 256 {
		if got.PIN.Allowed(byte(b)) {
			allowed += string(rune(b))
		}
	}
	if want := "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"; allowed != want {
		t.Errorf("allowed are %q, want %q", allowed, want)
	}
	if f := got.UnlockCode.Allowed; !f('!') || !f('~') || f(' ') || f(0x7F) {
		t.Error("the unlock code is not made of printable ASCII")
	}
	got.PIN.Allowed, got.UnlockCode.Allowed = nil, nil
	want := token.Profile{
		Name: "社員証", Limit: 15, UnlockLimit: 3, EmptyVerifySafe: true, Extended: true,
		PIN:   token.PINFormat{MinLength: 4, MaxLength: 12, Charset: "letters and digits", PadTo: 12},
		Words: token.PINWords{Wrong: []uint16{0x6982, 0x6985}, Counted: []uint16{0x6300}, Blocked: []uint16{0x63C0}},

		UnlockCode:         token.PINFormat{MinLength: 10, MaxLength: 12, Charset: "printable ASCII", PadTo: 12},
		DefaultUnlockCodes: []string{"0123456789"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("profile (-want +got):\n%s", diff)
	}
	got.Words.Wrong[0], got.DefaultUnlockCodes[0] = 0x9000, ""
	if again := set.For("PIV", nil, "piv-1"); again.Words.Wrong[0] != 0x6982 || again.DefaultUnlockCodes[0] == "" {
		t.Error("who got a profile can change the set")
	}
}

func TestOwnProfilesTakeThePlaceOfShippedOnes(t *testing.T) {
	set := load(t, map[string]string{"x.toml": text("piv")})
	if got := set.For("PIV", nil, ""); got.Name != "piv" || got.Limit != 5 || got.EmptyVerifySafe {
		t.Errorf("profile %+v, want the own one", got)
	}
	set, err := cardprofile.Load("")
	if err != nil {
		t.Fatal(err)
	}
	if got := set.For("PIV", nil, ""); got.Limit != 3 {
		t.Errorf("without a folder: %+v, want the shipped one", got)
	}
	// A wrong path must not mean that the administrator's words count for nothing.
	if _, err := cardprofile.Load(filepath.Join(t.TempDir(), "absent")); token.KindOf(err) != token.KindConfigInvalid {
		t.Errorf("a folder that is not there: %v, want CONFIG_INVALID", err)
	}
}

func TestWhatIsNotUnderstoodIsRefusedWithItsPlace(t *testing.T) {
	one := func(content string) map[string]string { return map[string]string{"x.toml": content} }
	good := text("x", `cards = ["c"]`)
	unlock := func(old, by string) map[string]string {
		return one(strings.Replace(good, unlockPart, strings.Replace(unlockPart, old, by, 1), 1))
	}
	tests := map[string]struct {
		files map[string]string
		want  string // in the error
	}{
		"unknown key":              {one("limt = 3\n" + good), `x.toml: line 1, column 1: there is no setting "limt"`},
		"unknown key in a table":   {one(good + "[words]\nfalse = []\n"), `there is no setting "words.false"`},
		"no TOML":                  {one("name ="), "x.toml: line 1"},
		"a number as text":         {one(strings.Replace(good, "limit = 5", `limit = "5"`, 1)), "line 3"},
		"a key twice":              {one("name = \"y\"\n" + good), "line 2"},
		"no name":                  {one(strings.Replace(good, `"x"`, `""`, 1)), "name must have"},
		"no application":           {one(strings.Replace(good, `"PIV"`, `""`, 1)), "application is missing"},
		"unknown application":      {one(strings.Replace(good, `"PIV"`, `"OpenPGP"`, 1)), `x.toml: application = "OpenPGP" is not known; known: "PIV"`},
		"lower-case application":   {one(strings.Replace(good, `"PIV"`, `"piv"`, 1)), `application = "piv" is not known; known: "PIV"`},
		"no limit":                 {one(strings.Replace(good, "limit = 5\n", "", 1)), "limit = 0"},
		"no unlock limit":          {one(strings.Replace(good, "unlock_limit = 4\n", "", 1)), "unlock_limit = 0"},
		"limit of 16":              {one(strings.Replace(good, "limit = 5", "limit = 16", 1)), "limit = 16"},
		"no PIN":                   {one(strings.Replace(good, pinPart, "", 1)), "pin: lengths 0 to 0"},
		"PIN too long":             {one(strings.Replace(good, "max_length = 8", "max_length = 65", 1)), "pin: lengths"},
		"PIN the wrong way round":  {one(strings.Replace(good, "min_length = 6", "min_length = 9", 1)), "pin: lengths"},
		"PIN longer than padded":   {one(strings.Replace(good, "pad_to = 8", "pad_to = 7", 1)), "pin.pad_to"},
		"padding without its byte": {one(strings.Replace(good, "pad_byte = 0xFF", "", 1)), "go together"},
		"padding with a digit":     {one(strings.Replace(good, "0xFF", "0x30", 1)), "pin.pad_byte"},
		"padding that is no byte":  {one(strings.Replace(good, "0xFF", "256", 1)), "pin.pad_byte"},
		"unknown charset":          {one(strings.Replace(good, `"digits"`, `"全角"`, 1)), "pin.charset"},
		"no unlock code":           {one(strings.Replace(good, unlockPart, "", 1)), "unlock_code: lengths 0 to 0"},
		"unlock code too long":     {unlock("max_length = 8", "max_length = 65"), "unlock_code: lengths 6 to 65"},
		"unlock code without form": {unlock(`"printable ASCII and spaces"`, `"bytes"`), "unlock_code.charset"},
		"unlock code padded short": {unlock("pad_to = 8", "pad_to = 7"), "unlock_code.pad_to"},
		"unlock code padded alone": {unlock("pad_to = 8", "pad_to = 9"), "must be those of pin"},
		"unlock code padding":      {unlock("0xFF", "0xFE"), "must be those of pin"},
		"unlock code not padded":   {unlock("pad_to = 8\npad_byte = 0xFF\n", ""), "must be those of pin"},
		"unlock code with padding": {unlock("0xFF", "0x20"), "unlock_code.pad_byte"},
		"a default too short":      {unlock(`"12345678"`, `"12345"`), "can be no unlock code"},
		"a default of a NUL":       {unlock(`"12345678"`, `"1234567\u0000"`), "can be no unlock code"},
		"a default twice":          {unlock(`"12345678"`, `"12345678", "12345678"`), "is there twice"},
		"too many defaults":        {unlock(`"12345678"`, strings.Repeat(`"12345678", `, 17)), "more than 16"},
		"a default that is none":   {unlock(`"12345678"`, "12345678"), "x.toml: line"},
		"an unlock code of keys":   {unlock("defaults", "default"), `there is no setting "unlock_code.default"`},
		"an empty card identity":   {one(text("x", `cards = [""]`)), "is empty"},
		"ATR that is no hex":       {one(text("x", "[[atr]]", `value = "3BXX"`)), "atr.value"},
		"ATR of 34 bytes":          {one(text("x", "[[atr]]", `value = "`+strings.Repeat("3B", 34)+`"`)), "atr.value"},
		"mask of another length":   {one(text("x", "[[atr]]", `value = "3B00"`, `mask = "FFFFFF"`)), "atr.mask"},
		"mask of zeros":            {one(text("x", "[[atr]]", `value = "3B00"`, `mask = "0000"`)), "atr.mask"},
		"two for all":              {one(text("x")), `both for all cards of application "PIV"`},
		"two of a name":            {map[string]string{"x.toml": good, "y.toml": text("x", `cards = ["d"]`)}, `both for the name "x"`},
		"two for a card":           {map[string]string{"x.toml": good, "y.toml": text("y", `cards = ["c"]`)}, "both for card c"},
		"two for an ATR":           {one(text("x", "[[atr]]", `value = "`+yubikeyATR+`"`)), "both for ATR"},
		"too large":                {one(good + strings.Repeat("#", 64<<10)), "not a file of at most"},
	}
	for _, word := range []string{"9000", "63C1", "63CF", "63C0", "6983", "6984", "6100", "6C00", "6700", "", "69", "698x", "69820", "wxyz"} {
		tests["wrong word "+word] = struct {
			files map[string]string
			want  string
		}{one(good + "[words]\nwrong = [\"" + word + "\"]\n"), "words.wrong"}
	}
	for _, word := range []string{"63Cx", "690x", "6300", "900x", "x", "610x"} {
		tests["counted word "+word] = struct {
			files map[string]string
			want  string
		}{one(good + "[words]\ncounted = [\"" + word + "\"]\n"), "words.counted"}
	}
	tests["a word twice"] = struct {
		files map[string]string
		want  string
	}{one(good + "[words]\nwrong = [\"6985\"]\nblocked = [\"6985\"]\n"), "is in wrong already"}
	for name, tt := range tests {
		set, err := cardprofile.Load(folder(t, tt.files))
		if set != nil || token.KindOf(err) != token.KindConfigInvalid || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Load = %v, %v, want an error with %q", name, set, err, tt.want)
		}
	}
}

func TestAFolderThatCannotBeReadIsAnError(t *testing.T) {
	file := filepath.Join(folder(t, map[string]string{"x": ""}), "x")
	if _, err := cardprofile.Load(file); token.KindOf(err) != token.KindConfigInvalid {
		t.Errorf("Load of a file = %v, want %s", err, token.KindConfigInvalid)
	}
	dir := t.TempDir()
	if err := os.Symlink("nowhere", filepath.Join(dir, "x.toml")); err != nil {
		t.Fatal(err)
	}
	if _, err := cardprofile.Load(dir); token.KindOf(err) != token.KindConfigInvalid {
		t.Errorf("Load with a link to nowhere = %v, want %s", err, token.KindConfigInvalid)
	}
}
