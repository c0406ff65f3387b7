package pivcard

import (
	"testing"

	"github.com/inkan-project/inkan/pcsc/apdu"
)

func TestRightPINGivesTheTriesBack(t *testing.T) {
	c := newCard(t)
	wantSWs(t, c,
		queryPIN, triesLeft(10),
		wrongPIN, triesLeft(9),
		wrongPIN, triesLeft(8),
		queryPIN, triesLeft(8),
		rightPIN, apdu.SWOK,
		queryPIN, apdu.SWOK, // proved: the card no longer tells the count
		"0020FF80", apdu.SWOK, // logs out
		queryPIN, triesLeft(10),
		rightPIN, apdu.SWOK,
		wrongPIN, triesLeft(9), // logs out too
		queryPIN, triesLeft(9),
	)
}

func TestTenWrongPINsLockTheCardForEver(t *testing.T) {
	c := newCard(t)
	for left := Tries - 1; left >= 0; left-- {
		wantSW(t, c, wrongPIN, triesLeft(left)) // the last wrong one says 63C0
	}
	for range 3 {
		wantSWs(t, c, wrongPIN, apdu.SWBlocked, rightPIN, apdu.SWBlocked, queryPIN, apdu.SWBlocked,
			"00240080 10 313233343536FFFF"+newPIN, apdu.SWBlocked)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		c = open(t, c.options.Dir)
		wantSW(t, c, selectPIV, apdu.SWOK)
	}
	if got := truth(t, c); got.Verifies != 16 || got.PINLeft != 0 || got.UnlockLeft != Tries {
		t.Errorf("truth = %+v, want 16 verifies, no tries for the PIN, 10 for the unlock code", got)
	}
	wantSWs(t, c, "002C0080 10"+rightUnlock+newPIN, apdu.SWOK,
		rightPIN, triesLeft(9), "00200080 08"+newPIN, apdu.SWOK)
}

func TestTenWrongUnlockCodesKillTheUnlockCode(t *testing.T) {
	c := newCard(t)
	wantSWs(t, c, wrongPIN, triesLeft(9))
	for left := Tries - 1; left >= 0; left-- {
		command := "002C0080 10" + wrongUnlock + newPIN
		if left%2 == 0 { // both commands count together
			command = "00240081 10" + wrongUnlock + rightUnlock
		}
		wantSW(t, c, command, triesLeft(left))
	}
	for range 2 {
		wantSWs(t, c, "002C0080 10"+rightUnlock+newPIN, apdu.SWBlocked,
			"00240081 10"+rightUnlock+wrongUnlock, apdu.SWBlocked)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		c = open(t, c.options.Dir)
		wantSW(t, c, selectPIV, apdu.SWOK)
	}
	wantSW(t, c, rightPIN, apdu.SWOK) // the PIN is another secret
	if got := truth(t, c); got.UnlockLeft != 0 || got.PINLeft != Tries {
		t.Errorf("truth = %+v", got)
	}
}

func TestMalformedSecretsCostNothing(t *testing.T) {
	c := newCard(t)
	for _, command := range []string{
		"00200080 06 313233343536",       // not padded
		"00200080 08 3132333435FFFFFF",   // five digits
		"00200080 08 313233343536FF37",   // digit after padding
		"00200080 08 31323334353641FF",   // letter
		"00200080 08 FFFFFFFFFFFFFFFF",   // padding only
		"00200080 09 313233343536373839", // too long
		"00240080 08 313233343536FFFF",   // old PIN only
		"00240080 10 313233343536FFFF3132333435FFFFFF",
		"00240081 0F 313233343536373831323334353637", // one byte short
		"002C0080 10" + rightUnlock + "3132333435FFFFFF",
		"002C0080 08" + rightUnlock,
	} {
		wantSW(t, c, command, apdu.SWWrongData)
	}
	wantSW(t, c, "00200000 08 313233343536FFFF", apdu.SWRefNotFound)
	wantSW(t, c, "00200180 08 313233343536FFFF", apdu.SWIncorrectP1P2)
	got := truth(t, c)
	if got.PINLeft != Tries || got.UnlockLeft != Tries || got.Verifies != 8 || got.Changes != 3 {
		t.Errorf("truth = %+v, want full tries, 8 verifies and 3 changes seen", got)
	}
}

func TestSecretsChangeAndStayChanged(t *testing.T) {
	c := newCard(t)
	wantSWs(t, c,
		"00240080 10 393939393939FFFF"+newPIN, triesLeft(9),
		"00240080 10 313233343536FFFF"+newPIN, apdu.SWOK,
		queryPIN, apdu.SWOK, // a changed PIN is a proved PIN
		"00240081 10"+wrongUnlock+wrongUnlock, triesLeft(9),
		"00240081 10"+rightUnlock+wrongUnlock, apdu.SWOK,
		rightPIN, triesLeft(9),
	)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = open(t, c.options.Dir)
	wantSWs(t, c,
		selectPIV, apdu.SWOK,
		rightPIN, triesLeft(8),
		"00200080 08"+newPIN, apdu.SWOK,
		"002C0080 10"+rightUnlock+newPIN, triesLeft(9),
		queryPIN, triesLeft(10), // a wrong unlock code logs out
		"002C0080 10"+wrongUnlock+"313233343536FFFF", apdu.SWOK,
		rightPIN, apdu.SWOK,
	)
}

func TestSelectingAgainChangesNothing(t *testing.T) {
	c := newCard(t)
	wantSWs(t, c, rightPIN, apdu.SWOK, selectPIV, apdu.SWOK, "00A40400 05 A000000309", apdu.SWNotFound, queryPIN, apdu.SWOK)
}

func TestResetLogsOutAndDeselects(t *testing.T) {
	for name, restart := range map[string]func(*Card){"reset": (*Card).Reset, "power": (*Card).Power} {
		t.Run(name, func(t *testing.T) {
			c := newCard(t)
			wantSW(t, c, rightPIN, apdu.SWOK)
			restart(c)
			wantSWs(t, c, queryPIN, apdu.SWNotAllowed, selectPIV, apdu.SWOK, queryPIN, triesLeft(10))
		})
	}
}

func TestSecretsAreComparedWhereTheyStand(t *testing.T) {
	c := newCard(t)
	command := unhex(t, rightPIN)
	before := string(command)
	if allocations := testing.AllocsPerRun(20, func() { c.profile.PIN.matches(command[5:]) }); allocations != 0 {
		t.Errorf("comparing allocates %v times", allocations)
	}
	c.Transmit(command)
	if string(command) != before {
		t.Error("the command was changed")
	}
}

// TestChangeAndUnlockSpeakAsVerifyDoes: a kind of card has one way to say wrong
// and blocked, whichever command carries the secret. Each use is on record with
// what came of it.
func TestChangeAndUnlockSpeakAsVerifyDoes(t *testing.T) {
	const (
		wrongChange, rightChange = "00240080 10 393939393939FFFF" + newPIN, "00240080 10 313233343536FFFF" + newPIN
		wrongReset, rightReset   = "002C0080 10" + wrongUnlock + newPIN, "002C0080 10" + rightUnlock + newPIN
		newVerify                = "00200080 08" + newPIN
	)
	for _, name := range Variants() {
		if name == "slow" { // as "piv", later
			continue
		}
		t.Run(name, func(t *testing.T) {
			behaviour, _ := Variant(name)
			for _, wrong := range []string{wrongChange, wrongReset} {
				c, same := variant(t, name), variant(t, name)
				limit := behaviour.limit()
				for i := range limit + 2 { // beyond the limit: blocked
					if got, want := send(t, c, wrong).SW, send(t, same, wrongPIN).SW; got != want {
						t.Errorf("%s %d gives %s, VERIFY %s", wrong[:4], i+1, got, want)
					}
				}
				right, taken := rightChange, 0
				if wrong == wrongReset {
					right = rightReset
				}
				if want := send(t, same, rightPIN).SW; send(t, c, right).SW != want {
					t.Errorf("the right secret on a locked card is not answered as VERIFY: %s", want)
				}
				if behaviour.NeverLocks {
					taken = 1
				}
				got := truth(t, c)
				if got.Changes+got.UnlockVerifies != limit+3 || got.Replaced != taken {
					t.Errorf("%d and %d seen, %d taken, want %d in all and %d", got.Changes, got.UnlockVerifies, got.Replaced, limit+3, taken)
				}
			}
			c := variant(t, name)
			for range behaviour.limit() {
				send(t, c, wrongPIN)
			}
			wantSWs(t, c, rightReset, apdu.SWOK, newVerify, apdu.SWOK) // locked: unlocked
			if got := truth(t, c); got.Replaced != 1 || got.UnlockVerifies != 1 || got.PINLeft != behaviour.limit() {
				t.Errorf("truth = %+v, want one unlock that gave all tries back", got)
			}
		})
	}
}
