package counter

import (
	"context"
	"fmt"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// person answers prompts. All it knows is public.
type person struct {
	pin, next string
	wrong     bool // the next PIN is a wrong one
	slips     int  // wrong ones so far: inkand sends none twice
}

var _ interface {
	client.SecretSource
	client.Confirmer
} = (*person)(nil)

// turn thinks of a new PIN.
func (p *person) turn() {
	p.next = "830274"
	if p.pin == p.next {
		p.next = "519637"
	}
}

// PIN implements client.PINSource.
func (p *person) PIN(_ context.Context, _ client.Prompt, buf []byte) (int, error) {
	if p.wrong {
		p.slips++
		return copy(buf, fmt.Sprintf("7%05d", p.slips)), nil
	}
	return copy(buf, p.pin), nil
}

// Secret implements client.SecretSource.
func (p *person) Secret(ctx context.Context, prompt client.Prompt, buf []byte) (int, error) {
	switch prompt.Secret {
	case inkanpb.SecretKind_SECRET_KIND_UNLOCK_CODE:
		return copy(buf, pivcard.DemoUnlockCode), nil
	case inkanpb.SecretKind_SECRET_KIND_NEW_PIN, inkanpb.SecretKind_SECRET_KIND_NEW_PIN_AGAIN:
		return copy(buf, p.next), nil
	default:
		return p.PIN(ctx, prompt, buf)
	}
}

// Confirm implements client.Confirmer.
func (p *person) Confirm(_ context.Context, prompt client.Prompt) (string, error) {
	return prompt.Confirmation, nil
}
