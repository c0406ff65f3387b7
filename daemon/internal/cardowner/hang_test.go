package cardowner_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/cardowner"
	"github.com/inkan-project/inkan/token"
)

// A card that hung once must not hang its reader, its callers and the stop of
// the service at the next use: the reset before a use has its time, too.
func TestACardThatHangsAgainIsGivenUpAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJammed(t)
		o := start(t, j, 10*time.Second)
		id := await(t, o, cardIn(0))[0].Card.Identity.Card
		for range 3 {
			begin := time.Now()
			err := o.Use(t.Context(), id, func(ctx context.Context, l cardowner.Lease) error {
				j.silent.Store(true)
				_, _, err := l.Tries(ctx, token.SecretPIN)
				return err
			})
			if took := time.Since(begin); err == nil || took > 30*time.Second {
				t.Errorf("Use: %v after %v, want an error within seconds", err, took)
			}
		}
	})
}
