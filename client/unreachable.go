package client

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"github.com/inkan-project/inkan/client/internal/trusted"
	"github.com/inkan-project/inkan/proto/catalogue"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// Causes of ErrServiceUnreachable that are no system error.
var (
	errNotGRPC        = errors.New("the program there does not speak gRPC")
	errConnectionLost = errors.New("the connection was lost during the call")
)

// unreachable explains why there is no connection to inkand, with the words
// for the cases that people meet, in both languages.
func (c *Client) unreachable(cause error) *Error {
	if r, ok := errors.AsType[*trusted.Refusal](cause); ok {
		values := map[string]string{"path": c.socket, "detail": r.In("en"), "detail_ja": r.In("ja")}
		return NewError(inkanpb.Reason_REASON_SOCKET_NOT_TRUSTED, c.language, values).because(cause)
	}
	detail := unreachableDetail(cause)
	values := func(language string) map[string]string {
		return map[string]string{"path": c.socket, "detail": detail[language]}
	}
	e := NewError(inkanpb.Reason_REASON_SERVICE_UNREACHABLE, c.language, values(c.language))
	for l := range e.texts {
		e.texts[l] = catalogue.In(l, e.Reason, values(l))
	}
	return e.because(cause)
}

// unreachableDetail names the cause, by language.
func unreachableDetail(cause error) map[string]string {
	say := func(en, ja string) map[string]string { return map[string]string{"en": en, "ja": ja} }
	switch {
	case errors.Is(cause, fs.ErrNotExist):
		return say("there is no such socket", "ソケットがありません")
	case errors.Is(cause, fs.ErrPermission):
		return say("this user may not open the socket", "このユーザはソケットを開けません")
	case errors.Is(cause, syscall.ECONNREFUSED):
		return say("nobody listens there", "待ち受けているプログラムがありません")
	case errors.Is(cause, syscall.EINVAL):
		return say("the path is not that of a socket, or longer than 107 bytes", "ソケットのパスではないか、107バイトを超えています")
	case errors.Is(cause, context.Canceled), errors.Is(cause, context.DeadlineExceeded):
		return say("no answer in time", "時間内に応答がありません")
	case errors.Is(cause, errNotGRPC):
		return say("the program there is not inkand", "待ち受けているプログラムがinkandではありません")
	case errors.Is(cause, errConnectionLost):
		return say("the connection was lost during the call; look at the status and the log before trying again",
			"処理中に接続が切れました。もう一度操作する前に状態と記録を確認してください")
	}
	return say(cause.Error(), cause.Error())
}
