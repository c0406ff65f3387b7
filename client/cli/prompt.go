package cli

import (
	"fmt"
	"strings"

	"github.com/inkan-project/inkan/client"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// promptText is what the person reads before entering a secret: everything
// needed to notice that somebody else is asking.
func (a *app) promptText(p client.Prompt) string {
	var b strings.Builder
	line := func(en, ja, value string) {
		if value != "" {
			fmt.Fprintf(&b, "  %s: %s\n", a.say(en, ja), clean(value))
		}
	}
	secret := a.secretName(p.Secret)
	fmt.Fprintf(&b, "%s\n", a.say(secret+" needed", secret+"の入力"))
	line("card", "カード", p.CardID+a.virtualMark(p.Virtual))
	line("company", "会社", p.Company)
	program := p.Program
	if program == "" {
		program = a.say("not known", "不明")
	}
	line("program", "プログラム", fmt.Sprintf("%s (pid %d)", program, p.PID))
	line("for", "用途", a.forPeople(p.Purpose))
	line("key", "鍵", p.KeyLabel)
	for _, name := range p.DocumentNames {
		if name != "" {
			line("document (as the program says)", "文書(プログラムの申告)", name)
		}
	}
	if more := p.DocumentCount - len(p.DocumentNames); more > 0 {
		line("more documents", "ほかの文書", itoa(more))
	}
	line("tries left", "残り回数", a.tries(p.Tries.Left, p.Tries.Known, p.Tries.Confirmed))
	if p.Virtual {
		fmt.Fprintf(&b, "%s\n", a.say("This card is only software: its PIN is 123456, its unlock code 12345678.",
			"これは仮想カードです。暗証番号は 123456、ロック解除コードは 12345678 です。"))
	}
	b.WriteString(a.entryText(p))
	return b.String()
}

// entryText is the line on which the secret is entered.
func (a *app) entryText(p client.Prompt) string {
	secret := a.secretName(p.Secret)
	return a.say(secret+" (not shown; Ctrl-C cancels): ", secret+"(表示されません。Ctrl-Cで取消し): ")
}

func (a *app) secretName(s inkanpb.SecretKind) string {
	if s == inkanpb.SecretKind_SECRET_KIND_UNLOCK_CODE {
		return a.say("Unlock code", "ロック解除コード")
	}
	return a.say("PIN", "暗証番号")
}
