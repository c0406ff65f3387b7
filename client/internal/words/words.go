// Package words has the words that inkan and inkan-prompt show people, in
// Japanese and English, and makes words of others safe to show.
//
// It guarantees that [Clean] lets nothing through that a terminal obeys. The
// caller cleans every word that comes from a card, a program or the service.
package words

import (
	"strconv"
	"strings"
)

// Say chooses the text of a language, "ja" or else English.
func Say(lang, en, ja string) string {
	if lang == "ja" {
		return ja
	}
	return en
}

// In turns a word of the API, such as a state, into words of a language. A
// word that is not known stays as it is.
func In(lang, word string) string {
	if lang != "ja" {
		return strings.NewReplacer("_", " ", "change-pin", "change PIN", "stop-here", "stop here", "out-of-band", "used elsewhere").Replace(word)
	}
	japanese := map[string]string{
		"ready": "使用可", "low": "残りわずか", "held": "保留", "locked": "ロック", "dead": "使用不能", "stopped_here": "使用停止",
		"good": "有効", "expiring": "まもなく期限切れ", "not_yet_valid": "有効期間前", "expired": "期限切れ",
		"suspended": "休止", "revoked": "失効", "unknown": "失効未確認", "unspecified": "不明",
		"never": "不要", "once": "必要", "always": "毎回",
		"start": "起動", "stop": "停止", "intent": "開始", "result": "結果", "refused": "拒否", "event": "通知",
		"sign": "署名", "sign-batch": "一括署名", "verify": "暗証番号の照合", "change-pin": "暗証番号の変更", "unlock": "ロック解除",
		"acknowledge": "保留の解除", "stop-here": "使用停止", "lift": "使用停止の解除",
		"out-of-band": "他の場所での使用", "recovery": "起動時の確認",
		"OK": "成功", "FAILED": "失敗", "UNKNOWN": "不明",
	}
	if ja, ok := japanese[word]; ok {
		return ja
	}
	return word
}

// Tries says what is known of the tries left: a number, "at most" one, or
// unknown.
func Tries(lang string, left int, known, confirmed bool) string {
	switch {
	case !known:
		return Say(lang, "unknown", "不明")
	case !confirmed:
		return Say(lang, "at most ", "最大 ") + strconv.Itoa(left)
	}
	return strconv.Itoa(left)
}

// Virtual marks what is only software.
func Virtual(lang string, virtual bool) string {
	if !virtual {
		return ""
	}
	return Say(lang, " (virtual)", " (仮想)")
}
