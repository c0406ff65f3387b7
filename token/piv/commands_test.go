package piv_test

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/piv"
	"github.com/inkan-project/inkan/token/tokentest"
)

// TestCommandsOfASignature counts by the card's own record what a signature
// takes: the card is often slower than all the rest.
func TestCommandsOfASignature(t *testing.T) {
	const (
		sel, data, verify, auth, more = 0xA4, 0xCB, 0x20, 0x87, 0xC0
	)
	const firstContact = "the first contact"
	type counts map[byte]int
	made := t.TempDir()
	card, err := pivcard.Open(pivcard.Options{Dir: made, Keys: map[pivcard.Slot]pivcard.KeyType{
		pivcard.SlotAuthentication: pivcard.P256, pivcard.SlotSignature: pivcard.RSA2048,
		pivcard.SlotKeyManagement: pivcard.P256, pivcard.SlotCardAuth: pivcard.P384,
	}})
	if err != nil {
		t.Fatal(err)
	}
	_ = card.Close()
	for name, tt := range map[string]struct {
		profile                                    token.Profile
		contact, identify, first, next, rsa, noPIN counts
	}{
		"extended length": {
			profile: shipped(t).For("PIV", nil, virtualCard), contact: counts{sel: 1, data: 5, verify: 1}, identify: counts{sel: 1, data: 1, verify: 1},
			first: counts{verify: 1, auth: 1}, next: counts{auth: 1}, rsa: counts{verify: 1, auth: 1}, noPIN: counts{auth: 1},
		},
		"short form": {
			profile: profileOf(t, "last-blocked"), contact: counts{sel: 1, data: 5, verify: 1}, identify: counts{sel: 1, data: 1, verify: 1},
			first: counts{verify: 1, auth: 1}, next: counts{auth: 1}, rsa: counts{verify: 1, auth: 2, more: 1}, noPIN: counts{auth: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := newDirectory(t, made)
			conn := &connection{card: openCard(t, dir)}
			tok := piv.Open(conn, piv.FromProfile(tt.profile))
			before := counts{}
			step := func(what string, want counts, do func() error) {
				t.Helper()
				if err := do(); err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				truth, err := pivcard.ReadTruth(dir)
				if err != nil {
					t.Fatal(err)
				}
				got := counts{}
				for ins, n := range truth.Commands {
					if n -= before[ins]; n > 0 {
						got[ins] = n
					}
				}
				before = maps.Clone(truth.Commands)
				if what == firstContact { // how many pieces depends on the length of the certificates
					delete(got, more)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("commands of %s (-want +got):\n%s", what, diff)
				}
			}
			var id token.Identity
			identify := func() (err error) {
				if id, err = tok.Identify(t.Context()); err == nil {
					_, _, err = tok.Tries(t.Context(), token.SecretPIN)
				}
				return err
			}
			login := func() error {
				pin := tokentest.PIN(t, []byte(pivcard.DemoPIN))
				_, err := tok.Verify(t.Context(), pin, token.NewAttempt(id.Card, token.SecretPIN, 1))
				return err
			}
			keys := map[string]token.Key{}
			step(firstContact, tt.contact, func() error {
				if err := identify(); err != nil {
					return err
				}
				all, err := tok.Keys(t.Context())
				for _, k := range all {
					keys[k.Slot] = k
				}
				return err
			})
			sign := func(slot string) error {
				a := token.Algorithms(keys[slot].Public)[0]
				_, err := tok.Sign(t.Context(), keys[slot], a, make([]byte, a.Hash.Size()))
				return err
			}
			conn.card.Reset()
			step("identification", tt.identify, identify)
			step("a signature with a PIN", tt.first, func() error {
				if err := login(); err != nil {
					return err
				}
				return sign("9a")
			})
			step("the next signature", tt.next, func() error { return sign("9a") })
			step("an RSA signature, PIN always", tt.rsa, func() error {
				if err := login(); err != nil {
					return err
				}
				return sign("9c")
			})
			step("a signature without a PIN", tt.noPIN, func() error { return sign("9e") })
		})
	}
}
