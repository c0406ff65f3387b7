package broker_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"

	"github.com/inkan-project/inkan/token"
)

// otherKey is a register that has another public key than the card: to the
// broker, every signature of the card is then faulty.
type otherKey struct{}

func (otherKey) Key(_ context.Context, id token.KeyID) (token.Key, bool, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return token.Key{}, false, err
	}
	key, err := token.NewKey(id.Card(), "9a", "other", private.Public(), nil, token.PINOnce)
	return key, true, err
}
