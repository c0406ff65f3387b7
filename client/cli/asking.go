package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/client/cli/ttyprompt"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// asking is how a command's secrets are asked for. The zero value leaves it to
// the prompt of the person's session.
type asking struct {
	source client.PINSource // asks in this process: --pin-fd, or a terminal without inkan-prompt
	prompt *trustedPrompt   // asks at the terminal in a process of its own
	// notTrusted is true if this process asks at the terminal because there is
	// no inkan-prompt: to inkand that is any program.
	notTrusted bool
}

// withPIN runs a command that may be asked for a PIN: from the descriptor if
// one was given, else on the terminal, else by the prompt of the session.
func (a *app) withPIN(cmd *cobra.Command, fd int, body func(ctx context.Context, c *client.Client) error) error {
	ctx := cmd.Context()
	how, err := a.howToAsk(ctx, cmd, fd)
	if err != nil {
		return err
	}
	o := a.options()
	o.PIN, o.Agent = how.source, how.prompt.agent()
	c, err := client.Dial(ctx, o)
	if err == nil {
		err = body(ctx, c)
		_ = c.Close() // what was signed has been written
	}
	// Both waits also see that the terminal is as it was.
	said := how.prompt.end()
	return a.becauseOf(err, said, how.notTrusted)
}

func (a *app) howToAsk(ctx context.Context, cmd *cobra.Command, fd int) (asking, error) {
	if flag := cmd.Flags().Lookup("pin-fd"); flag != nil && flag.Changed {
		if fd < 0 || fd == 1 || fd == 2 {
			return asking{}, usage("--pin-fd is 0, or 3 and more", "--pin-fd には 0 または 3 以上を指定してください")
		}
		source, err := newFDSource(fd)
		return asking{source: source}, err
	}
	if !ttyprompt.HaveTerminal() {
		return asking{}, nil
	}
	path := findPrompt()
	if path == "" {
		return asking{source: &ttyprompt.Source{Lang: a.lang}, notTrusted: true}, nil
	}
	socket, err := a.options().PINSocketPath()
	if err != nil {
		return asking{}, err
	}
	// An inkan-prompt that does not start has a reason, such as a socket that
	// is not to be trusted: this process does not ask instead.
	return asking{prompt: startPrompt(ctx, path, socket, a.lang)}, nil
}

// explained is an error with what else a person should know about it.
type explained struct {
	error

	why []string
}

// Unwrap returns the error itself.
func (e *explained) Unwrap() error { return e.error }

// becauseOf adds to an error what the prompt said, where no PIN came, and that
// it was missing, where inkand refused another source.
func (a *app) becauseOf(err error, said []string, notTrusted bool) error {
	e, ok := errors.AsType[*client.Error](err)
	switch {
	case !ok:
	case noPINCame(e) && len(said) > 0:
		return &explained{err, said}
	case e.Reason == inkanpb.Reason_REASON_PIN_SOURCE_REFUSED && notTrusted:
		return &explained{err, []string{a.say(
			"the trusted prompt, "+promptName+", is neither beside inkan nor in "+promptFolder+": inkan asked by itself, as any program can",
			"信頼できる入力画面 "+promptName+" が inkan と同じ場所にも "+promptFolder+" にもないため、inkan 自身が尋ねました(一般のプログラムと同じ扱いです)",
		)}}
	}
	return err
}

// noPINCame reports whether an error says only that nobody gave a PIN.
func noPINCame(e *client.Error) bool {
	return e.Reason == inkanpb.Reason_REASON_NO_PIN_AGENT || e.Reason == inkanpb.Reason_REASON_PROMPT_CANCELLED ||
		e.Reason == inkanpb.Reason_REASON_PIN_AGENT_LOST
}
