//go:build !linux

package cli

import (
	"context"
	"errors"

	"github.com/inkan-project/inkan/client"
)

// Elsewhere than on Linux a PIN is entered in the prompt of the session only.

func haveTerminal() bool { return false }

type terminalSource struct{ app *app }

// PIN implements [client.PINSource].
func (*terminalSource) PIN(context.Context, client.Prompt, []byte) (int, error) {
	return 0, errors.ErrUnsupported
}

func newFDSource(int) (client.PINSource, error) {
	return nil, usage("--pin-fd works on Linux only", "--pin-fd はLinuxでのみ使えます")
}
