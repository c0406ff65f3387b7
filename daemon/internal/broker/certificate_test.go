package broker_test

import (
	"testing"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/broker"
	"github.com/inkan-project/inkan/token"
)

func TestACertificateSignsInItsTimeOnly(t *testing.T) {
	var now time.Time
	h := newHouse(t, func(c *broker.Config) { c.Now = func() time.Time { return now } })
	facts, _ := h.Certificate(h.card().Keys[0])
	tests := map[string]struct {
		now  time.Time
		want token.CertificateState // of the signature's warning
		kind token.Kind
	}{
		"a second before it begins": {facts.NotBefore.Add(-time.Second), 0, token.KindCertificateNotYetValid},
		"as it begins":              {facts.NotBefore, token.CertificateUnknown, ""},
		"as it ends":                {facts.NotAfter, token.CertificateUnknown, ""},
		"a second after it ended":   {facts.NotAfter.Add(time.Second), 0, token.KindCertificateExpired},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			now = tt.now
			asked, verifies := len(h.agent.asked), h.truth(t).Verifies
			sig, err := h.sign(t, "9a")
			if tt.kind == "" {
				if err != nil || sig.Warning != tt.want {
					t.Errorf("Sign: warning %d, %v; want %d", sig.Warning, err, tt.want)
				}
				return
			}
			if token.KindOf(err) != tt.kind || sig.Bytes != nil {
				t.Errorf("Sign: %v, want %s", err, tt.kind)
			}
			if len(h.agent.asked) != asked || h.truth(t).Verifies != verifies {
				t.Error("the PIN was asked for, or a try spent")
			}
		})
	}
}
