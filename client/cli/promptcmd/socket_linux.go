package promptcmd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/inkan-project/inkan/client/internal/trusted"
)

// connectTimeout bounds connecting: a local socket answers at once or not at
// all.
const connectTimeout = 5 * time.Second

// connect connects to pin.sock if nobody but root, inkand's user or the user
// himself can have put it there, and if it is one of these that answers.
func connect(ctx context.Context, path string, say func(en, ja string) string) (*net.UnixConn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := trusted.Dial(ctx, "unixpacket", path)
	if r, ok := errors.AsType[*trusted.Refusal](err); ok {
		return nil, errors.New(say("the PIN socket is not trusted, no PIN is asked for: "+r.In("en"),
			"暗証番号用ソケットを信頼できないため、暗証番号を尋ねません: "+r.In("ja")))
	}
	if err != nil {
		return nil, fmt.Errorf("connecting to the PIN socket: %w", err)
	}
	return conn, nil
}
