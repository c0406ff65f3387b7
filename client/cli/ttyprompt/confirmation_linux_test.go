package ttyprompt

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/inkan-project/inkan/client"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

func TestOnlyWhatWasAskedForIsAConfirmationAndNothingElseIsShown(t *testing.T) {
	for _, tc := range []struct {
		name, want, keys, shown string
		same                    bool
		err                     error
	}{
		{"as asked", "3", "3\r", "3", true, nil},
		{"a word", "changed", "changed\n", "changed", true, nil},
		{"another digit", "3", "4\r", "*", false, nil},
		{"nothing", "3", "\r", "", false, nil},
		{"a PIN by habit", "3", "123456\r", "******", false, nil},
		{"more than asked", "3", "33\r", "3*", false, nil},
		{"less than asked", "changed", "change\r", "change", false, nil},
		{"taken back", "3", "4\x7f3\r", "*\b \b3", true, nil},
		{"taken back in the middle", "abc", "axc\x08\x08bc\r", "a**\b \b\b \bbc", true, nil},
		{"a full-width digit is another one", "3", "３\r", "*", false, nil},
		{"a full-width digit taken back whole", "3", "３\x7f3\r", "*\b \b3", true, nil},
		{"Ctrl-U begins again", "3", "12\x153\r", "**\b \b\b \b3", true, nil},
		{"Backspace at the beginning", "3", "\x7f\x083\r", "3", true, nil},
		{"other control keys are no part of it", "3", "\t\x1b3\r", "3", true, nil},
		{"Ctrl-C", "3", "3\x03", "3", false, client.ErrCancel},
		{"Ctrl-D", "3", "3\x04", "3", false, client.ErrCancel},
		{"the end", "3", "3", "3", false, client.ErrCancel},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			person := os.NewFile(uintptr(pair[0]), "person")
			defer person.Close()
			if _, err := person.WriteString(tc.keys); err != nil {
				t.Fatal(err)
			}
			if err := unix.Shutdown(pair[0], unix.SHUT_WR); err != nil {
				t.Fatal(err)
			}
			r, err := NewReader(t.Context(), pair[1])
			if err != nil {
				t.Fatal(err)
			}
			same, err := readConfirmation(r, tc.want)
			r.Close()
			_ = unix.Close(pair[1])
			shown := make([]byte, 256)
			n, _ := person.Read(shown)
			if same != tc.same || !errors.Is(err, tc.err) || string(shown[:n]) != tc.shown {
				t.Errorf("got %v, %v, shown %q; want %v, %v, %q", same, err, shown[:n], tc.same, tc.err, tc.shown)
			}
		})
	}
}

func TestEveryReasonToConfirmIsExplainedInBothLanguages(t *testing.T) {
	p := client.Prompt{Confirmation: "2", Tries: client.Tries{Left: 2, Known: true}}
	for n, name := range inkanpb.ConfirmationReason_name {
		if n == 0 {
			continue
		}
		p.ConfirmationReason = inkanpb.ConfirmationReason(n)
		en, ja := (&Source{Lang: "en"}).whyText(p), (&Source{Lang: "ja"}).whyText(p)
		if en == "" || en == ja {
			t.Errorf("%s is %q and %q", name, en, ja)
		}
		if p.ConfirmationReason != inkanpb.ConfirmationReason_CONFIRMATION_REASON_CHANGED_ELSEWHERE &&
			(!strings.Contains(en, "at most 2") || !strings.Contains(ja, "最大 2回")) {
			t.Errorf("%s does not say the tries left: %q, %q", name, en, ja)
		}
	}
}

func TestAPromptNamesItsSecret(t *testing.T) {
	s := &Source{Lang: "ja"}
	for kind, want := range map[inkanpb.SecretKind]string{
		inkanpb.SecretKind_SECRET_KIND_PIN:           "暗証番号の入力\n",
		inkanpb.SecretKind_SECRET_KIND_UNLOCK_CODE:   "ロック解除コードの入力\n",
		inkanpb.SecretKind_SECRET_KIND_NEW_PIN:       "新しい暗証番号の入力\n",
		inkanpb.SecretKind_SECRET_KIND_NEW_PIN_AGAIN: "新しい暗証番号(もう一度)の入力\n",
		inkanpb.SecretKind_SECRET_KIND_NONE:          "確認の入力\n",
	} {
		text := s.promptText(client.Prompt{Secret: kind, MinLength: 6, MaxLength: 8})
		if !strings.HasPrefix(text, want) {
			t.Errorf("%v begins with %q, want %q", kind, text, want)
		}
		if newPIN(kind) != strings.Contains(text, "半角6〜8文字") || newPIN(kind) == strings.Contains(text, "残り回数") {
			t.Errorf("%v is asked with %q", kind, text)
		}
	}
}
