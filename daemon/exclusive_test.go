package daemon

import (
	"os"
	"path/filepath"
	"testing"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

func TestStatusSaysWhetherAReaderIsInkandsAlone(t *testing.T) {
	c := CardConfig{Exclusive: []string{"ACS ACR39U 00 00", "Virtual PCD"}}
	policy := filepath.Join(t.TempDir(), "policy")
	asked := c.exclusivity(policy)
	if got := asked("Virtual PCD 00 01"); got != inkanpb.Exclusivity_EXCLUSIVITY_NOT_ENFORCED {
		t.Errorf("where pcscd asks nobody: %v", got)
	}
	if err := os.WriteFile(policy, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for reader, want := range map[string]inkanpb.Exclusivity{
		"ACS ACR39U 00 00":   inkanpb.Exclusivity_EXCLUSIVITY_ALONE,
		"ACS ACR39U 00 01":   inkanpb.Exclusivity_EXCLUSIVITY_UNSPECIFIED,
		"Virtual PCD 00 01":  inkanpb.Exclusivity_EXCLUSIVITY_ALONE,
		"Virtual PCDX 00 00": inkanpb.Exclusivity_EXCLUSIVITY_UNSPECIFIED,
		"another":            inkanpb.Exclusivity_EXCLUSIVITY_UNSPECIFIED,
	} {
		if got := asked(reader); got != want {
			t.Errorf("%s: %v, want %v", reader, got, want)
		}
	}
}
