package daemon

import (
	"os"
	"strings"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// pcscdPolicy is there where pcscd asks polkit: it declares what is asked
// (pcsc-lite, doc/README.polkit).
const pcscdPolicy = "/usr/share/polkit-1/actions/org.debian.pcsc-lite.policy"

// exclusivity returns what status says of a reader. The rule itself cannot be
// read by inkand's user; policy tells whether pcscd would ask for it.
func (c CardConfig) exclusivity(policy string) func(reader string) inkanpb.Exclusivity {
	return func(reader string) inkanpb.Exclusivity {
		for _, name := range c.Exclusive {
			if reader != name && !strings.HasPrefix(reader, name+" ") {
				continue
			}
			if _, err := os.Stat(policy); err != nil {
				return inkanpb.Exclusivity_EXCLUSIVITY_NOT_ENFORCED
			}
			return inkanpb.Exclusivity_EXCLUSIVITY_ALONE
		}
		return inkanpb.Exclusivity_EXCLUSIVITY_UNSPECIFIED
	}
}
