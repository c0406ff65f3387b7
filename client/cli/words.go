package cli

import (
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// word is an enum's name as JSON and English show it: "stopped_here".
func word(name, prefix string) string { return strings.ToLower(strings.TrimPrefix(name, prefix)) }

func cardStateWord(s inkanpb.CardState) string { return word(s.String(), "CARD_STATE_") }

func certificateStateWord(s inkanpb.CertificateState) string {
	return word(s.String(), "CERTIFICATE_STATE_")
}

func pinPolicyWord(p inkanpb.PinPolicy) string { return word(p.String(), "PIN_POLICY_") }

// missingWord is the missing layer's name, "" if nothing is missing.
func missingWord(l inkanpb.Layer) string {
	if l == inkanpb.Layer_LAYER_UNSPECIFIED {
		return ""
	}
	return word(l.String(), "LAYER_")
}

func recordKindWord(k inkanpb.RecordKind) string { return word(k.String(), "RECORD_KIND_") }

// forPeople turns a word into the caller's language.
func (a *app) forPeople(w string) string {
	if a.lang != "ja" {
		return strings.ReplaceAll(w, "_", " ")
	}
	japanese := map[string]string{
		"ready": "使用可", "low": "残りわずか", "held": "保留", "locked": "ロック", "dead": "使用不能", "stopped_here": "使用停止",
		"good": "有効", "expiring": "まもなく期限切れ", "not_yet_valid": "有効期間前", "expired": "期限切れ",
		"suspended": "休止", "revoked": "失効", "unknown": "失効未確認", "unspecified": "不明",
		"never": "不要", "once": "必要", "always": "毎回",
		"start": "起動", "stop": "停止", "intent": "開始", "result": "結果", "refused": "拒否", "event": "通知",
		"sign": "署名", "verify": "暗証番号の照合", "OK": "成功", "FAILED": "失敗", "UNKNOWN": "不明",
	}
	if ja, ok := japanese[w]; ok {
		return ja
	}
	return w
}

// tries says what is known of the tries left: a number, "at most" one, or
// unknown.
func (a *app) tries(left int, known, confirmed bool) string {
	switch {
	case !known:
		return a.say("unknown", "不明")
	case !confirmed:
		return a.say("at most ", "最大 ") + itoa(left)
	}
	return itoa(left)
}

func (a *app) pinTries(p *inkanpb.PinStatus) string {
	return a.tries(int(p.GetTriesLeft()), p != nil && p.TriesLeft != nil, p.GetTriesKnown())
}

// at shows a time as the caller's clock does; empty if there is none.
func at(t *timestamppb.Timestamp, layout string) string {
	if t == nil {
		return ""
	}
	return t.AsTime().Local().Format(layout)
}

// rfc3339 is a time in JSON: UTC, or null.
func rfc3339(t *timestamppb.Timestamp) *time.Time {
	if t == nil {
		return nil
	}
	u := t.AsTime().UTC()
	return &u
}
