package token_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/inkan-project/inkan/token"
)

// canary is what must never be printed.
var canary = []byte("48151623")

func digits68() token.PINFormat {
	return token.PINFormat{
		MinLength: 6, MaxLength: 8, Charset: "digits",
		Allowed: func(b byte) bool { return b >= '0' && b <= '9' },
	}
}

func newPIN(t *testing.T, secret []byte) *token.PIN {
	t.Helper()
	pin, _ := newPINPage(t, secret, nil)
	return pin
}

func newPINPage(t *testing.T, secret []byte, release func()) (*token.PIN, []byte) {
	t.Helper()
	page := make([]byte, token.PINPageMin)
	copy(page[token.PINHeadroom:], secret)
	pin, err := token.NewPIN(page, len(secret), release)
	if err != nil {
		t.Fatalf("NewPIN: %v", err)
	}
	t.Cleanup(pin.Wipe)
	return pin, page
}

// leaks lists in which form the canary stands in out.
func leaks(out string) []string {
	var found []string
	for name, form := range map[string]string{
		"text":          string(canary),
		"hex":           fmt.Sprintf("%x", canary),
		"spaced hex":    fmt.Sprintf("% x", canary),
		"0x hex":        fmt.Sprintf("%# x", canary),
		"go syntax":     strings.Trim(fmt.Sprintf("%#v", canary), "[]byte{}"),
		"decimal":       strings.Trim(fmt.Sprint(canary), "[]"),
		"octal":         strings.Trim(fmt.Sprintf("%o", canary), "[]"),
		"binary":        strings.Trim(fmt.Sprintf("%b", canary), "[]"),
		"characters":    strings.Trim(fmt.Sprintf("%c", canary), "[]"),
		"json of bytes": "NDgxNTE2MjM", // base64
	} {
		if strings.Contains(strings.ToLower(out), strings.ToLower(form)) {
			found = append(found, name)
		}
	}
	return found
}

type exported struct{ P *token.PIN }

type unexported struct {
	p     *token.PIN
	other int
}

type embedded struct{ *token.PIN }

type byValue struct {
	V token.PIN
	v token.PIN //nolint:unused // filled and printed by reflection
}

// pinValues returns the PIN in every wrapping that a careless log line could
// have. Copies are made by reflection: go vet refuses to compile them in.
func pinValues(pin *token.PIN) map[string]any {
	value := reflect.ValueOf(pin).Elem()
	holder := reflect.New(reflect.TypeFor[byValue]())
	for i := range holder.Elem().NumField() { // NewAt: also the unexported one
		field := holder.Elem().Field(i)
		reflect.NewAt(field.Type(), field.Addr().UnsafePointer()).Elem().Set(value)
	}
	return map[string]any{
		"the pointer":                     pin,
		"an exported field":               exported{pin},
		"a pointer to an exported field":  &exported{pin},
		"an unexported field":             unexported{p: pin, other: 1},
		"a pointer to an unexported one":  &unexported{p: pin},
		"an embedded field":               embedded{pin},
		"a slice":                         []*token.PIN{pin},
		"a map":                           map[string]*token.PIN{"pin": pin},
		"an interface in a slice":         []any{pin},
		"a copy of the value":             value.Interface(),
		"a copy of the value in a struct": holder.Elem().Interface(),
		"a pointer to that struct":        holder.Interface(),
		"a reflect.Value of the value":    value,
		"a pointer to the pointer":        &pin,
	}
}

func TestPINNeverPrints(t *testing.T) {
	pin := newPIN(t, canary)
	verbs := []string{
		"%v", "%+v", "%#v", "%s", "%q", "%+q", "%x", "%X", "% x", "%#x", "%d", "%o", "%O", "%b",
		"%c", "%U", "%e", "%g", "%t", "%T", "%p", "%w", "%20v", "%-20s", "%.3s", "%!", "%z",
	}
	for name, v := range pinValues(pin) {
		for _, verb := range verbs {
			if found := leaks(fmt.Sprintf(verb, v)); found != nil {
				t.Errorf("%s printed with %s shows the PIN as %v", name, verb, found)
			}
			if found := leaks(fmt.Errorf("verifying "+verb, v).Error()); found != nil {
				t.Errorf("%s in an error with %s shows the PIN as %v", name, verb, found)
			}
		}
		if found := leaks(fmt.Sprint(v, " ", v)); found != nil {
			t.Errorf("%s in Sprint shows the PIN as %v", name, found)
		}
	}
	for _, verb := range []string{"%v", "%s", "%x", "%d", "%#v", "%+v", "%q"} {
		if got, want := fmt.Sprintf(verb, pin), "[PIN]"; got != want {
			t.Errorf("fmt.Sprintf(%q, pin) = %q, want %q", verb, got, want)
		}
	}
}

func TestPINNeverReachesLogsOrJSON(t *testing.T) {
	pin := newPIN(t, canary)
	for name, v := range pinValues(pin) {
		if name == "a reflect.Value of the value" {
			continue // an encoder has no business with reflection
		}
		var log bytes.Buffer
		for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
			slog.New(h).InfoContext(context.Background(), "verifying", "pin", v, slog.Group("g", "pin", v))
		}
		if found := leaks(log.String()); found != nil {
			t.Errorf("slog of %s shows the PIN as %v", name, found)
		}
		out, err := json.Marshal(v)
		if err != nil {
			t.Errorf("json.Marshal of %s: %v", name, err)
		}
		if found := leaks(string(out)); found != nil {
			t.Errorf("JSON of %s shows the PIN as %v", name, found)
		}
	}
	if text, err := pin.MarshalText(); err != nil || string(text) != "[PIN]" {
		t.Errorf("MarshalText = %q, %v, want [PIN]", text, err)
	}
	if pin.String() != "[PIN]" || pin.GoString() != "[PIN]" {
		t.Errorf("String, GoString = %q, %q, want [PIN]", pin.String(), pin.GoString())
	}
}

func TestPINCommandIsBuiltInThePageOfThePIN(t *testing.T) {
	header := []byte{0x00, 0x20, 0x00, 0x80, 0x08}
	tests := []struct {
		name   string
		secret string
		header []byte
		padTo  int
		want   []byte
	}{
		{"six digits padded to eight", "123456", header, 8, append(bytes.Clone(header), "123456\xff\xff"...)},
		{"eight digits need no padding", "12345678", header, 8, append(bytes.Clone(header), "12345678"...)},
		{"no padding asked for", "123456", header, 0, append(bytes.Clone(header), "123456"...)},
		{"no header", "123456", nil, 0, []byte("123456")},
		{"longest header and longest PIN", strings.Repeat("7", 64), bytes.Repeat([]byte{1}, 16), 64, append(bytes.Repeat([]byte{1}, 16), strings.Repeat("7", 64)...)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pin, page := newPINPage(t, []byte(tt.secret), nil)
			for range 2 { // building it again gives the same
				got, err := pin.Command(tt.header, tt.padTo, 0xFF)
				if err != nil {
					t.Fatalf("Command: %v", err)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("command (-want +got):\n%s", diff)
				}
				if &got[0] != &page[token.PINHeadroom-len(tt.header)] {
					t.Error("the command is a copy, want it in the page of the PIN")
				}
				if cap(got) != len(got) {
					t.Errorf("capacity %d of a command of %d bytes: appending would write to the page", cap(got), len(got))
				}
			}
		})
	}
}

func TestPINCommandRefusesWhatDoesNotFit(t *testing.T) {
	tests := []struct {
		name   string
		secret string
		header int
		padTo  int
	}{
		{"header longer than the headroom", "123456", 17, 8},
		{"padding longer than a PIN can be", "123456", 5, 65},
		{"PIN longer than the padding", "123456789", 5, 8},
		{"negative padding", "123456", 5, -1},
		{"an empty PIN, which padding would make a wrong one", "", 5, 8},
		{"an empty PIN, which would be a question", "", 4, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := newPIN(t, []byte(tt.secret)).Command(make([]byte, tt.header), tt.padTo, 0xFF)
			if err == nil {
				t.Errorf("Command gave %d bytes, want an error", len(got))
			}
		})
	}
}

func TestPINWipeZeroesThePageBeforeGivingItBack(t *testing.T) {
	released := 0
	var page []byte
	var pin *token.PIN
	pin, page = newPINPage(t, canary, func() {
		released++
		if !bytes.Equal(page, make([]byte, len(page))) {
			t.Error("page is released before it is zeroed")
		}
	})
	command, err := pin.Command([]byte{0x00, 0x20, 0x00, 0x80, 0x08}, 8, 0xFF)
	if err != nil {
		t.Fatalf("Command: %v", err)
	}
	shared := reflect.ValueOf(pin).Elem().Interface() // a copy shares the page
	pin.Wipe()
	pin.Wipe()
	if released != 1 {
		t.Errorf("page was released %d times, want once", released)
	}
	if !bytes.Equal(command, make([]byte, len(command))) {
		t.Error("command outlives Wipe")
	}
	if pin.Len() != 0 {
		t.Errorf("Len after Wipe = %d, want 0", pin.Len())
	}
	if _, err := pin.Command(nil, 8, 0xFF); err == nil {
		t.Error("Command after Wipe gives no error")
	}
	if err := pin.Check(digits68()); token.KindOf(err) != token.KindPINMalformed {
		t.Errorf("Check after Wipe = %v, want %s", err, token.KindPINMalformed)
	}
	if found := leaks(fmt.Sprint(shared)); found != nil {
		t.Errorf("a copy still shows the PIN as %v", found)
	}
}

func TestPINMethodsTakeNilAndZero(t *testing.T) {
	var none *token.PIN
	for name, pin := range map[string]*token.PIN{"nil": none, "zero": new(token.PIN)} {
		pin.Wipe()
		if got := pin.Len(); got != 0 {
			t.Errorf("Len of %s = %d, want 0", name, got)
		}
		if got := fmt.Sprintf("%v %x", pin, pin); got != "[PIN] [PIN]" {
			t.Errorf("printing %s gives %q", name, got)
		}
		if err := pin.Check(digits68()); err == nil {
			t.Errorf("Check of %s gives no error", name)
		}
		if _, err := pin.Command(nil, 8, 0xFF); err == nil {
			t.Errorf("Command of %s gives no error", name)
		}
	}
}

func TestNewPINRefusesWhatCannotHoldAPIN(t *testing.T) {
	tests := []struct {
		name         string
		page, length int
	}{
		{"no page", 0, 0},
		{"a page too small", token.PINPageMin - 1, 6},
		{"a negative length", token.PINPageMin, -1},
		{"a length beyond the capacity", token.PINPageMin, token.PINCapacity + 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if pin, err := token.NewPIN(make([]byte, tt.page), tt.length, nil); err == nil {
				t.Errorf("NewPIN = %v, want an error", pin)
			}
		})
	}
}

func TestPINCheckTakesOnlyWhatCanBeAPIN(t *testing.T) {
	for n := range token.PINCapacity + 1 {
		pin := newPIN(t, bytes.Repeat([]byte("5"), n))
		err := pin.Check(digits68())
		if want := n >= 6 && n <= 8; (err == nil) != want {
			t.Errorf("Check of %d digits = %v, want accepted %v", n, err, want)
		}
		if err != nil && token.KindOf(err) != token.KindPINMalformed {
			t.Errorf("Check of %d digits has kind %s, want %s", n, token.KindOf(err), token.KindPINMalformed)
		}
	}
	// Every other byte, at every place of a PIN of good length.
	for b := range 256 {
		for at := range 6 {
			secret := []byte("123456")
			secret[at] = byte(b)
			err := newPIN(t, secret).Check(digits68())
			if want := b >= '0' && b <= '9'; (err == nil) != want {
				t.Errorf("Check with byte %#02x at %d = %v, want accepted %v", b, at, err, want)
			}
		}
	}
	for name, secret := range map[string]string{
		"full-width digits":               "12", // six bytes in UTF-8
		"full-width digits, shift JIS":    "\x82\x4f\x82\x50\x82\x51",
		"a NUL behind six digits":         "123456\x00",
		"only NULs":                       "\x00\x00\x00\x00\x00\x00",
		"padding typed in":                "123456\xff\xff",
		"a line end":                      "123456\n",
		"a space in front":                " 123456",
		"letters":                         "abcdef",
		"Arabic-Indic digits":             "١٢٣",
		"seven digits and a dash":         "1234-567",
		"nothing":                         "",
		"a minus":                         "-12345",
		"superscripts that Unicode likes": "\u00b2\u00b3\u00b9",
	} {
		err := newPIN(t, []byte(secret)).Check(digits68())
		if token.KindOf(err) != token.KindPINMalformed {
			t.Errorf("Check of %s = %v, want %s", name, err, token.KindPINMalformed)
		}
		if err != nil && len(secret) > 2 && strings.Contains(err.Error(), secret) {
			t.Errorf("the error about %s quotes the PIN", name)
		}
	}
}
