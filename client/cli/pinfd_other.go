//go:build !linux

package cli

import "github.com/inkan-project/inkan/client"

func newFDSource(int) (client.PINSource, error) {
	return nil, usage("--pin-fd works on Linux only", "--pin-fd はLinuxでのみ使えます")
}
