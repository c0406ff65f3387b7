package client

import (
	"context"
	"errors"
	"net"
)

// errAgentEnded is why PromptAgent.Serve returns by itself.
var errAgentEnded = errors.New("inkand ended the connection of the PIN agent")

// PromptAgent answers prompts for other programs of the same user that name it
// ([Options].Agent), on a connection to pin.sock that its caller made. It is
// for prompts that are programs of their own, such as inkan-prompt; others set
// [Options].PIN.
type PromptAgent struct {
	Source PINSource
	// Welcomed is told the id that inkand gave. Its error ends Serve.
	Welcomed func(id string) error
	// Failed is told why Source gave nothing when that was no person's
	// decision. May be nil.
	Failed func(error)
}

// Serve answers prompts until ctx is done, which is no error, or the
// connection ends. It closes conn, a SOCK_SEQPACKET connection, and returns
// when Source is not in use any more.
func (p PromptAgent) Serve(ctx context.Context, conn *net.UnixConn) error {
	note := func(err error) {
		if p.Failed != nil && isFailure(err) {
			p.Failed(err)
		}
	}
	a, err := startAgent(ctx, conn, p.Source, note)
	if err != nil {
		return err
	}
	defer a.close()
	if err := p.Welcomed(a.id); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case <-a.done:
		return errAgentEnded
	}
}
