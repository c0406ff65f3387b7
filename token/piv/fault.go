package piv

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/pcsc/apdu"
	"github.com/inkan-project/inkan/token"
)

// transportError marks an error of the connection: the outcome of the command
// is not known and the card may be another one by now.
type transportError struct{ cause error }

func (e transportError) Error() string { return e.cause.Error() }
func (e transportError) Unwrap() error { return e.cause }

// fault says what an error means to people. doing is the operation in
// progress, lower-case, for example "signing". People get our words; the words
// of the error itself are for the log. An error that has them already, because
// the connection refuses a command, stays as it is.
func fault(doing string, err error) *token.Error {
	if said, ok := errors.AsType[*token.Error](err); ok {
		return said
	}
	because := fmt.Errorf("%s: %w", doing, err)
	if status, ok := errors.AsType[apdu.StatusError](err); ok {
		word := status.SW.String()
		return token.NewError(token.KindCardFault, "status_word", word, "detail", doing+", status word "+word).
			InJapanese(inJapanese(doing) + "、ステータスワード " + word).Because(err)
	}
	_, transport := errors.AsType[transportError](err)
	switch {
	case errors.Is(err, pcsc.ErrRemoved), errors.Is(err, pcsc.ErrNoReader):
		return token.NewError(token.KindCardRemoved).Because(because)
	case errors.Is(err, pcsc.ErrTimeout), errors.Is(err, pcsc.ErrNoAnswer):
		return token.NewError(token.KindCardSilent).Because(because)
	case errors.Is(err, pcsc.ErrReset):
		return token.Errorf(token.KindCardReset, "%s", doing).InJapanese(inJapanese(doing)).Because(err)
	case errors.Is(err, pcsc.ErrNoService):
		return token.NewError(token.KindPCSCUnavailable).Because(because)
	case errors.Is(err, pcsc.ErrSharing):
		return token.Errorf(token.KindReaderInUse, "noticed while %s", doing).InJapanese(inJapanese(doing) + "に判明").Because(err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return token.NewError(token.KindCallEnded).Because(because)
	case errors.Is(err, apdu.ErrTooLong), errors.Is(err, apdu.ErrMalformed), !transport:
		return token.Errorf(token.KindCardFault, "%s, the answer cannot be used", doing).
			InJapanese(inJapanese(doing) + "、応答を解釈できません").Because(err)
	}
	return token.Errorf(token.KindReaderFault, "%s", doing).InJapanese(inJapanese(doing)).Because(err)
}

// inJapanese is what was being done, in Japanese.
func inJapanese(doing string) string {
	switch doing {
	case "reading card identity":
		return "カード識別の読取り中"
	case "selecting PIV":
		return "PIVアプリケーションの選択中"
	case "signing":
		return "署名中"
	case "asking for the tries left":
		return "残り回数の確認中"
	case "verifying PIN":
		return "暗証番号の照合中"
	case "changing PIN":
		return "暗証番号の変更中"
	case "unlocking":
		return "ロック解除中"
	}
	if of, ok := strings.CutPrefix(doing, "reading certificate of "); ok {
		return "証明書の読取り中(" + of + ")"
	}
	return doing
}
