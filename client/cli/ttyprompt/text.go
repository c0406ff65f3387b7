package ttyprompt

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/client/internal/words"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// Source asks the person on the terminal that controls this process. It is a
// [client.SecretSource] and a [client.Confirmer].
type Source struct {
	Lang string // "ja" or "en"
}

func (s *Source) say(en, ja string) string { return words.Say(s.Lang, en, ja) }

// promptText is what the person reads before anything is typed: all that is
// needed to notice that somebody else is asking.
func (s *Source) promptText(p client.Prompt) string {
	var b strings.Builder
	line := func(en, ja, value string) {
		if value != "" {
			fmt.Fprintf(&b, "  %s: %s\n", s.say(en, ja), words.Clean(value))
		}
	}
	secret := s.secretName(p.Secret)
	fmt.Fprintf(&b, "%s\n", s.say(secret+" needed", secret+"の入力"))
	line("card", "カード", p.CardID+words.Virtual(s.Lang, p.Virtual))
	line("company", "会社", p.Company)
	program := p.Program
	if program == "" {
		program = s.say("not known", "不明")
	}
	line("program", "プログラム", fmt.Sprintf("%s (pid %d)", program, p.PID))
	line("for", "用途", words.In(s.Lang, p.Purpose))
	line("key", "鍵", p.KeyLabel)
	for _, name := range p.DocumentNames {
		if name != "" {
			line("document (as the program says)", "文書(プログラムの申告)", name)
		}
	}
	if more := p.DocumentCount - len(p.DocumentNames); more > 0 {
		line("more documents", "ほかの文書", strconv.Itoa(more))
	}
	if newPIN(p.Secret) {
		line("length", "長さ", s.lengths(p))
	} else {
		line("tries left", "残り回数", s.tries(p))
	}
	if p.Timeout > 0 {
		seconds := strconv.Itoa(int(p.Timeout / time.Second))
		line("time to answer", "入力の期限", s.say(seconds+" seconds", seconds+"秒"))
	}
	if p.Virtual && strings.HasPrefix(p.CardID, pivCard) { // of others nobody knows the PIN
		fmt.Fprintf(&b, "%s\n", s.say("This card is only software: its PIN is 123456, its unlock code 12345678, unless changed.",
			"これは仮想カードです。初期の暗証番号は 123456、ロック解除コードは 12345678 です。"))
	}
	return b.String()
}

// pivCard is how the identity of the virtual card begins.
const pivCard = "piv-"

func newPIN(secret inkanpb.SecretKind) bool {
	return secret == inkanpb.SecretKind_SECRET_KIND_NEW_PIN || secret == inkanpb.SecretKind_SECRET_KIND_NEW_PIN_AGAIN
}

func (s *Source) tries(p client.Prompt) string {
	return words.Tries(s.Lang, p.Tries.Left, p.Tries.Known, p.Tries.Confirmed)
}

func (s *Source) lengths(p client.Prompt) string {
	if p.MaxLength == 0 {
		return ""
	}
	least, most := strconv.Itoa(p.MinLength), strconv.Itoa(p.MaxLength)
	return s.say(least+" to "+most+" half-width characters", "半角"+least+"〜"+most+"文字")
}

// entryText is the line on which the secret is entered.
func (s *Source) entryText(p client.Prompt) string {
	secret := s.secretName(p.Secret)
	return s.say(secret+" (not shown; Ctrl-C cancels): ", secret+"(表示されません。Ctrl-Cで取消し): ")
}

// whyText says why something must be typed besides.
func (s *Source) whyText(p client.Prompt) string {
	tries := s.tries(p)
	var why string
	switch p.ConfirmationReason {
	case inkanpb.ConfirmationReason_CONFIRMATION_REASON_FEW_TRIES:
		why = s.say("Tries of the PIN left: "+tries+". When none is left the card is locked.",
			"暗証番号の残りは"+tries+"回です。なくなるとカードはロックされます。")
	case inkanpb.ConfirmationReason_CONFIRMATION_REASON_REISSUE:
		why = s.say("Tries of the unlock code left: "+tries+". When none is left the card is dead and must be re-issued.",
			"ロック解除コードの残りは"+tries+"回です。なくなるとカードは使用不能になり、再発行が必要です。")
	case inkanpb.ConfirmationReason_CONFIRMATION_REASON_HELD:
		why = s.say("The card is held: it is not known how its last tries ended. Find out why first. Tries left: "+tries+".",
			"このカードは保留中です(直前の照合の結果が分かりません)。先に原因を確かめてください。残りは"+tries+"回です。")
	case inkanpb.ConfirmationReason_CONFIRMATION_REASON_HELD_UNLOCK_CODE:
		why = s.say("The unlock code is held: it is not known how its last tries ended. Find out why first. Tries of the unlock code left: "+tries+".",
			"ロック解除コードは保留中です(直前の試行の結果が分かりません)。先に原因を確かめてください。ロック解除コードの残りは"+tries+"回です。")
	case inkanpb.ConfirmationReason_CONFIRMATION_REASON_CHANGED_ELSEWHERE:
		why = s.say("The card has refused these very digits before. Go on only if they were changed elsewhere since then.",
			"この番号は、すでにカードが誤りと答えたものです。その後に他の場所で変更された場合に限り、続けてください。")
	case inkanpb.ConfirmationReason_CONFIRMATION_REASON_UNSPECIFIED:
	}
	if why != "" {
		why += "\n"
	}
	return why
}

// typeText is the line on which the confirmation is typed.
func (s *Source) typeText(p client.Prompt) string {
	what := words.Clean(p.Confirmation)
	return s.say("To go on type "+what+" (Ctrl-C cancels): ", "続けるには「"+what+"」と半角で入力してください(Ctrl-Cで取消し): ")
}

func (s *Source) secretName(kind inkanpb.SecretKind) string {
	switch kind {
	case inkanpb.SecretKind_SECRET_KIND_UNLOCK_CODE:
		return s.say("Unlock code", "ロック解除コード")
	case inkanpb.SecretKind_SECRET_KIND_NEW_PIN:
		return s.say("New PIN", "新しい暗証番号")
	case inkanpb.SecretKind_SECRET_KIND_NEW_PIN_AGAIN:
		return s.say("New PIN once more", "新しい暗証番号(もう一度)")
	case inkanpb.SecretKind_SECRET_KIND_NONE:
		return s.say("Confirmation", "確認")
	default:
		return s.say("PIN", "暗証番号")
	}
}
