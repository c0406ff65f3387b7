//go:build !linux

package client

import (
	"errors"
	"fmt"
)

// secretPage needs memfd and SCM_RIGHTS: a PIN can be given on Linux only.
type secretPage struct{}

func newSecretPage() (*secretPage, error) {
	return nil, fmt.Errorf("giving a PIN on this system: %w", errors.ErrUnsupported)
}

func (*secretPage) buffer() []byte                     { return nil }
func (*secretPage) send(int, func([]byte) error) error { return errors.ErrUnsupported }
func (*secretPage) wipe()                              {}
