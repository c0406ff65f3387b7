package pcsc

import (
	"context"
	"fmt"

	"github.com/ebfe/scard"
)

// ResetShared resets a card that other programs share, which takes from them
// what was proved to it. A program that holds it exclusively, or in a
// transaction, keeps it: the error wraps [ErrSharing], or ctx's.
func (s *Service) ResetShared(ctx context.Context, reader string) error {
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	err := s.calls.do(ctx, func() error { return resetShared(reader) }, func() {})
	if err != nil {
		return fmt.Errorf("resetting the shared card in %s: %w", reader, explain(err))
	}
	return nil
}

// resetShared connects as one of several, and lets go with a reset.
func resetShared(reader string) error {
	opened, err := scard.EstablishContext()
	if err != nil {
		return plain(err)
	}
	defer func() { _ = opened.Release() }()
	card, err := opened.Connect(reader, scard.ShareShared, scard.ProtocolAny)
	if err != nil {
		return plain(err)
	}
	return plain(card.Disconnect(scard.ResetCard))
}
