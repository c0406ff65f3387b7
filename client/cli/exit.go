package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/inkan-project/inkan/client"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// exitCode is what the process ends with. The numbers never change.
type exitCode int

const (
	exitOK          exitCode = 0
	exitOther       exitCode = 1
	exitUsage       exitCode = 2
	exitUnreachable exitCode = 3
	exitRefused     exitCode = 4
	exitPIN         exitCode = 5
	exitLocked      exitCode = 6
	exitNotFound    exitCode = 7
	exitCard        exitCode = 8
	exitNoPIN       exitCode = 9
	exitRequest     exitCode = 10
	exitLog         exitCode = 11
)

// exitCodes is the table of `inkan help exit-codes`, in order.
func exitCodes() []struct {
	code   exitCode
	en, ja string
} {
	return []struct {
		code   exitCode
		en, ja string
	}{
		{exitOK, "done", "成功"},
		{exitOther, "an error of another kind, for example a file that cannot be read", "その他のエラー(ファイルを読めないなど)"},
		{exitUsage, "the command line is wrong", "コマンドの書き方の誤り"},
		{exitUnreachable, "inkand cannot be reached or trusted, is too old, or is stopping", "inkandに接続できない、信頼できない、古すぎる、または停止処理中"},
		{exitRefused, "refused: this user or program may not do it, or asks too much at once", "許可されていない、または要求が多すぎる"},
		{exitPIN, "the PIN or unlock code is wrong, or cannot be one of this card", "暗証番号またはロック解除コードの誤り、または形式の誤り"},
		{exitLocked, "the card is locked, held, dead or stopped here, or must be inserted again or waited for", "ICカードがロック、保留、使用不能、使用停止のいずれか、または差し直しか待ち時間が必要"},
		{exitNotFound, "no such card or key, or no certificate that can be used", "カード、鍵、または使える証明書がない"},
		{exitCard, "the card or the reader failed", "ICカードまたはリーダのエラー"},
		{exitNoPIN, "interrupted, or the PIN entry was cancelled or timed out, or nobody could be asked", "中断、暗証番号の入力の取消しや時間切れ、または尋ねる相手がいない"},
		{exitRequest, "the request is wrong: digest, algorithm, or the state of the card", "要求の誤り(ダイジェスト、アルゴリズム、カードの状態)"},
		{exitLog, "the log or the PIN-try journal cannot be written", "記録または試行記録を書き込めない"},
	}
}

// exitError ends a command with a code, when its output has said why.
type exitError struct{ exit exitCode }

// Error implements error.
func (e *exitError) Error() string { return fmt.Sprintf("ended with exit code %d", e.exit) }

// reasonOf returns the reason of a stable code, REASON_UNSPECIFIED for what is
// none.
func reasonOf(code string) inkanpb.Reason {
	number, err := strconv.ParseInt(strings.TrimPrefix(code, "INK-"), 10, 32)
	if err != nil {
		return inkanpb.Reason_REASON_UNSPECIFIED
	}
	return inkanpb.Reason(number)
}

// exitOf returns the exit code of an error.
func exitOf(err error) exitCode {
	if err == nil {
		return exitOK
	}
	if u, ok := errors.AsType[*mistake](err); ok {
		return u.exit
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.exit
	}
	if e, ok := errors.AsType[*client.Error](err); ok {
		return exitOfReason(e.Reason)
	}
	return exitOther
}

// exitOfReason maps the catalogue. A reason that is not here ends with 1, so a
// test holds every reason against this list.
func exitOfReason(r inkanpb.Reason) exitCode {
	switch r {
	case inkanpb.Reason_REASON_PIN_WRONG, inkanpb.Reason_REASON_PIN_MALFORMED, inkanpb.Reason_REASON_PIN_KNOWN_WRONG, inkanpb.Reason_REASON_NEW_PIN_REFUSED, inkanpb.Reason_REASON_UNLOCK_CODE_WRONG, inkanpb.Reason_REASON_UNLOCK_CODE_MALFORMED, inkanpb.Reason_REASON_UNLOCK_CODE_KNOWN_WRONG, inkanpb.Reason_REASON_NEW_PINS_DIFFER, inkanpb.Reason_REASON_NEW_PIN_REFUSED_BY_CARD, inkanpb.Reason_REASON_PIN_EXPIRED, inkanpb.Reason_REASON_PIN_NOT_SET:
		return exitPIN
	case inkanpb.Reason_REASON_CARD_LOCKED, inkanpb.Reason_REASON_CARD_HELD, inkanpb.Reason_REASON_CARD_DEAD, inkanpb.Reason_REASON_UNLOCK_CODE_USED_UP, inkanpb.Reason_REASON_REINSERT_NEEDED, inkanpb.Reason_REASON_TRY_LATER, inkanpb.Reason_REASON_CARD_STOPPED_HERE:
		return exitLocked
	case inkanpb.Reason_REASON_PROMPT_CANCELLED, inkanpb.Reason_REASON_PROMPT_TIMEOUT,
		inkanpb.Reason_REASON_NO_PIN_AGENT, inkanpb.Reason_REASON_CALL_ENDED, inkanpb.Reason_REASON_CONFIRMATION_REFUSED,
		inkanpb.Reason_REASON_PIN_AGENT_CHANGED, inkanpb.Reason_REASON_PIN_AGENT_LOST:
		return exitNoPIN
	case inkanpb.Reason_REASON_CARD_NOT_FOUND, inkanpb.Reason_REASON_KEY_NOT_FOUND,
		inkanpb.Reason_REASON_NO_CERTIFICATE, inkanpb.Reason_REASON_CERTIFICATE_NOT_YET_VALID, inkanpb.Reason_REASON_CERTIFICATE_EXPIRED,
		inkanpb.Reason_REASON_CERTIFICATE_SUSPENDED, inkanpb.Reason_REASON_CERTIFICATE_REVOKED, inkanpb.Reason_REASON_KEY_DECRYPTS_ONLY, inkanpb.Reason_REASON_NO_KEY,
		inkanpb.Reason_REASON_CARD_NOT_REGISTERED:
		return exitNotFound
	case inkanpb.Reason_REASON_OUTCOME_UNKNOWN, inkanpb.Reason_REASON_PIN_NO_VERDICT, inkanpb.Reason_REASON_CHANGE_UNKNOWN, inkanpb.Reason_REASON_UNLOCK_UNKNOWN, inkanpb.Reason_REASON_CARD_REMOVED, inkanpb.Reason_REASON_CARD_CHANGED,
		inkanpb.Reason_REASON_CARD_SILENT, inkanpb.Reason_REASON_CARD_FAULT, inkanpb.Reason_REASON_SIGNATURE_CHECK_FAILED,
		inkanpb.Reason_REASON_READER_FAULT, inkanpb.Reason_REASON_PCSC_UNAVAILABLE,
		inkanpb.Reason_REASON_NO_READER, inkanpb.Reason_REASON_NO_CARD, inkanpb.Reason_REASON_CARD_UNKNOWN,
		inkanpb.Reason_REASON_READER_IN_USE, inkanpb.Reason_REASON_CARD_DUPLICATE,
		inkanpb.Reason_REASON_VIRTUAL_REFUSED, inkanpb.Reason_REASON_PCSC_DENIED,
		inkanpb.Reason_REASON_CARD_UNRESPONSIVE, inkanpb.Reason_REASON_CARD_KEEPS_LOGIN, inkanpb.Reason_REASON_CARD_RESET, inkanpb.Reason_REASON_KEYPAD_NEEDED,
		inkanpb.Reason_REASON_TOKEN_AMBIGUOUS, inkanpb.Reason_REASON_MODULE_FAULT, inkanpb.Reason_REASON_MODULE_UNAVAILABLE:
		return exitCard
	case inkanpb.Reason_REASON_REQUEST_INVALID, inkanpb.Reason_REASON_DIGEST_LENGTH, inkanpb.Reason_REASON_ALGORITHM_REFUSED,
		inkanpb.Reason_REASON_ALGORITHM_MISMATCH, inkanpb.Reason_REASON_MESSAGE_TOO_LARGE,
		inkanpb.Reason_REASON_CARD_NOT_STOPPED, inkanpb.Reason_REASON_CARD_NOT_HELD, inkanpb.Reason_REASON_METHOD_UNKNOWN, inkanpb.Reason_REASON_MECHANISM_MISSING,
		inkanpb.Reason_REASON_REQUEST_ID_REUSED, inkanpb.Reason_REASON_REQUEST_NOT_KNOWN, inkanpb.Reason_REASON_REQUEST_IDS_USED_UP:
		return exitRequest
	case inkanpb.Reason_REASON_PIN_SOURCE_REFUSED, inkanpb.Reason_REASON_CALLER_NOT_ALLOWED, inkanpb.Reason_REASON_CALLER_GONE,
		inkanpb.Reason_REASON_TOO_MANY_CALLS:
		return exitRefused
	case inkanpb.Reason_REASON_AUDIT_UNAVAILABLE, inkanpb.Reason_REASON_JOURNAL_UNAVAILABLE,
		inkanpb.Reason_REASON_JOURNAL_DAMAGED, inkanpb.Reason_REASON_DATABASE_DAMAGED, inkanpb.Reason_REASON_DATABASE_NEWER:
		return exitLog
	case inkanpb.Reason_REASON_SHUTTING_DOWN, inkanpb.Reason_REASON_SERVICE_UNREACHABLE,
		inkanpb.Reason_REASON_SOCKET_NOT_TRUSTED, inkanpb.Reason_REASON_SERVICE_TOO_OLD:
		return exitUnreachable
	default: // inkand says the others when it starts, on its own stderr; or they are bugs
		return exitOther
	}
}
