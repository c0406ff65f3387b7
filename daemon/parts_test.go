package daemon

import (
	"slices"
	"testing"

	"github.com/inkan-project/inkan/token/cardprofile"
)

func TestCardProfilesAreForTheApplicationsThatInkandHas(t *testing.T) {
	set, err := cardprofile.Shipped()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, a := range applications(set) {
		names = append(names, a.Name)
	}
	if !slices.Equal(names, cardprofile.Applications()) {
		t.Errorf("inkand has %q, a card profile may be for %q", names, cardprofile.Applications())
	}
}
