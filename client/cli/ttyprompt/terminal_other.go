//go:build !linux

package ttyprompt

import (
	"context"
	"errors"

	"github.com/inkan-project/inkan/client"
)

// Elsewhere than on Linux secrets are entered in the prompt of the session
// only.

// HaveTerminal reports whether somebody can be asked.
func HaveTerminal() bool { return false }

// PIN implements [client.PINSource].
func (*Source) PIN(context.Context, client.Prompt, []byte) (int, error) {
	return 0, errors.ErrUnsupported
}

// Secret implements [client.SecretSource].
func (*Source) Secret(context.Context, client.Prompt, []byte) (int, error) {
	return 0, errors.ErrUnsupported
}

// Confirm implements [client.Confirmer].
func (*Source) Confirm(context.Context, client.Prompt) (string, error) {
	return "", errors.ErrUnsupported
}

// Ask asks a question whose answer is no secret.
func Ask(context.Context, string) (string, error) { return "", errors.ErrUnsupported }

// Show writes to the terminal.
func Show(string) error { return errors.ErrUnsupported }
