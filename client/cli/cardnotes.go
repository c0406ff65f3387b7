package cli

import (
	"time"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// cardNotes says in words what a person should know of a card: what its state
// means and who can help, what holds up its next try, and its notices.
func (a *app) cardNotes(c *inkanpb.CardStatus) []string {
	var notes []string
	add := func(note string) {
		if note != "" {
			notes = append(notes, note)
		}
	}
	add(a.stateNote(c.GetState()))
	for _, secret := range []struct {
		name   string
		status *inkanpb.PinStatus
	}{
		{a.say("PIN", "暗証番号"), c.GetPin()},
		{a.say("unlock code", "ロック解除コード"), c.GetUnlockCode()},
	} {
		if n := secret.status.GetUnaccounted(); n > 0 {
			add(a.say(secret.name+": "+itoa(int(n))+" unaccounted: no verdict came (a crash, a pulled card), and it counts as spent",
				secret.name+": 結果が不明の回数 "+itoa(int(n))+"(異常終了や抜取り。使ったものとして数えます)"))
		}
		if secret.status.GetReinsert() {
			add(a.say(secret.name+": three wrong tries in a row: take the card out and insert it again, or ask an administrator (inkan acknowledge --reason)",
				secret.name+": 3回続けて誤りました。カードを差し直すか、管理者に依頼してください(inkan acknowledge --reason)"))
		}
		if n := seconds(secret.status); n > 0 {
			add(a.say(secret.name+": the next try must wait "+itoa(int(n))+" s", secret.name+": 次の照合まで"+itoa(int(n))+"秒待つ必要があります"))
		}
	}
	for _, n := range c.GetNotices() {
		add(n.GetCode() + " " + a.say(n.GetEn(), n.GetJa()))
	}
	return notes
}

// stateNote explains the states in which a card does not sign.
func (a *app) stateNote(s inkanpb.CardState) string {
	switch s {
	case inkanpb.CardState_CARD_STATE_HELD:
		return a.say("held: it is not known how its last tries ended. A person must confirm before the next one: inkan acknowledge",
			"保留: 直前の照合の結果が分かりません。次の照合の前に人の確認が必要です: inkan acknowledge")
	case inkanpb.CardState_CARD_STATE_LOCKED:
		return a.say("locked: no tries of the PIN are left. Unlock it with the unlock code: inkan unlock",
			"ロック: 暗証番号の残り回数がありません。ロック解除コードで解除してください: inkan unlock")
	case inkanpb.CardState_CARD_STATE_DEAD:
		return a.say("dead: no tries of the unlock code are left either. The card must be re-issued: ask its issuer",
			"使用不能: ロック解除コードの残り回数もありません。再発行を発行元に依頼してください")
	case inkanpb.CardState_CARD_STATE_STOPPED_HERE:
		return a.say("stopped here: reported lost on this PC. Only an administrator can lift it: inkan card lift",
			"使用停止: このPCで紛失と届けられています。解除できるのは管理者だけです: inkan card lift")
	default:
		return ""
	}
}

// seconds is how long the next try must wait, rounded up.
func seconds(p *inkanpb.PinStatus) int64 {
	wait := p.GetWait().AsDuration()
	return int64((wait + time.Second - 1) / time.Second)
}
