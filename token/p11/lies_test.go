package p11_test

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/p11/p11test"
	"github.com/inkan-project/inkan/token/tokentest"
)

// lie is something that a module does, and all that may come of it.
type lie struct {
	lie    string
	where  string // how far the use came; "" is a signature
	kind   token.Kind
	logins int // PINs that the card saw, for the one that was given
}

// orOne are logins: the process ended while the card was asked, or before.
const orOne = -1

// lies are told one after the other. What cannot be prevented stands with them.
func lies() []lie {
	const fault, silent = token.KindModuleFault, token.KindCardSilent
	return []lie{
		// A crash or a hang in C_Login says nothing about whether the card saw the
		// PIN: the try stays spent.
		{"crash:C_Login", "PIN", fault, 0},
		{"crash:after C_Login", "PIN", fault, 1},
		{"abort:C_Login", "PIN", fault, 0},
		{"leave:C_Login", "PIN", fault, 0},
		{"exit:C_Login", "PIN", silent, 0}, // its exit handlers hang
		{"hang:C_Login", "PIN", silent, 0},
		{"hang:after C_Login", "PIN", silent, 1},
		{"crash:C_Sign", "sign", fault, 1},
		{"hang:C_Sign", "sign", silent, 1},
		{"spin:C_Sign", "sign", silent, 1},
		{"crash:C_GetFunctionList", "before", fault, 0},
		{"nothing-there:C_GetFunctionList", "before", token.KindModuleUnavailable, 0},
		{"crash:C_Initialize", "before", fault, 0},
		{"hang:C_Initialize", "before", fault, 0},
		{"crash:C_OpenSession", "before", fault, 0},
		{"crash:C_GetTokenInfo", "before", fault, 0},
		{"crash:C_FindObjects", "before", fault, 0},
		{"hang:C_SignInit", "sign", silent, 1},
		// What it does at the end changes nothing for the signature that is there.
		{"crash:C_CloseAllSessions", "", "", 1},
		{"hang:C_CloseAllSessions", "", "", 1},
		{"hang:C_Logout", "", "", 1},

		// What it writes to the socket is taken for the answer: a module can say
		// anything anyhow. It cannot say more than one message.
		{"scribble:C_Login", "PIN", fault, orOne},
		{"garbage:C_Login", "PIN", fault, orOne},
		{"nothing:C_Login", "PIN", fault, orOne},
		{"long:C_Login", "PIN", fault, orOne},
		{"forge:C_OpenSession", "before", fault, 0},
		{"forge-files:C_SignInit:4", "sign", fault, 1},
		{"forge-files:C_SignInit:200", "sign", fault, 1},
		{"print:C_Sign", "", "", 1},

		// Memory: its own limit is 512 MiB, and that of all together is a matter for
		// the service (MemoryMax). Processor time is limited by the time of one call.
		{"memory:C_Sign", "sign", silent, 1},
		{"objects:C_FindObjects:16000", "before", token.KindCardFault, 0},
		{"objects:C_FindObjects:60000", "before", token.KindKeyNotFound, 0},
		{"length:C_Sign:0", "sign", token.KindCardFault, 1},
		{"length:C_Sign:1", "sign", token.KindCardFault, 1},
		{"length:C_Sign:-1", "sign", token.KindCardFault, 1},
		{"length:C_Sign:0x7fffffff", "sign", token.KindCardFault, 1},
		{"length:C_Sign:100000", "sign", token.KindCardFault, 1},
		{"length:C_GetAttributeValue:0", "before", token.KindKeyNotFound, 0},
		{"length:C_GetAttributeValue:-1", "before", token.KindKeyNotFound, 0},
		{"length:C_GetAttributeValue:-2", "before", fault, 0},
		{"length:C_GetAttributeValue:0x7fffffff", "before", fault, 0},
		{"length:C_GetAttributeValue:100000", "before", token.KindKeyNotFound, 0},
		{"length:C_FindObjects:-1", "before", fault, 0},
		{"length:C_FindObjects:1000000", "before", fault, 0},
		{"length:C_GetMechanismList:-1", "before", fault, 0},
		{"length:C_GetMechanismList:100000", "before", token.KindCardFault, 0},
		{"length:C_GetMechanismList:0", "sign", token.KindMechanismMissing, 1},

		// A card that is given the PIN twice spends two of its tries for one of ours.
		// Our count still ends at its limit, and what the card says of its own is
		// believed at once.
		{"twice:C_Login", "", "", 2},
		{"forget:C_Login", "sign", token.KindCardFault, 1},
		// That a certificate is another's shows only in the signature.
		{"other-key:", "check", token.KindSignatureCheckFailed, 1},
		{"other-key:silent", "check", token.KindSignatureCheckFailed, 1},
		{"wrong:C_Sign", "check", token.KindSignatureCheckFailed, 1},
		// A token with another serial number each time is another card each time,
		// with tries of its own; only the card's own count is for all.
		{"another-serial:C_GetTokenInfo", "", "", 1},
		{"bytes:C_GetTokenInfo", "before", token.KindCardFault, 0},
		{"pin-lengths:C_GetTokenInfo", "before", token.KindPINMalformed, 0},
		{"flags:C_GetTokenInfo:0x100", "before", token.KindKeypadNeeded, 0},
		{"state:C_GetSessionInfo:99", "", "", 1},

		{"remove:C_Login", "PIN", token.KindCardRemoved, 0},
		{"remove:C_Sign", "sign", token.KindCardRemoved, 1},
		{"return:C_Login:0x100", "PIN", token.KindCardFault, 0}, // CKR_USER_ALREADY_LOGGED_IN
		{"return:C_OpenSession:0xE0", "before", token.KindCardRemoved, 0},
		{"return:C_SignInit:0x70", "sign", token.KindAlgorithmMismatch, 1},
		{"return:C_Logout:0x30", "", "", 1},

		{"fork:C_Login", "", "", 1},
		{"fork:C_Initialize", "", "", 1},
	}
}

// TestEachLieIsContained tells each lie to one use, while the card beside it is
// used, and wants the next use to go well.
func TestEachLieIsContained(t *testing.T) {
	s := newStand(t, p11test.NewLiar(t))
	s.honest.works(t)
	memory := peakMemory(t)
	for _, l := range lies() {
		t.Run(l.lie, func(t *testing.T) {
			s.liar.works(t)
			s.liar.leave() // what lies is loaded anew
			before := s.liar.Logins(t)
			s.liar.Lie(t, l.lie)
			defer s.liar.Lie(t, "")
			o := s.beside(t, func() outcome { return s.liar.use(t, p11test.PIN) })
			if where, kind := o.came(); where != l.where || kind != l.kind {
				t.Errorf("%v, want %q %s", o, l.where, l.kind)
			}
			if n := s.liar.Logins(t) - before; n != l.logins && (l.logins != orOne || n > 1) {
				t.Errorf("the card saw %d PINs, want %d", n, l.logins)
			}
			// One call, the end of the session and that of the process.
			if limit := 3*operationTime + 2*time.Second; o.took > limit {
				t.Errorf("it took %v, more than %v", o.took, limit)
			}
			if o.reset != nil {
				t.Errorf("the reset after it: %v", o.reset)
			}
			s.liar.leave()
		})
	}
	s.liar.works(t)
	if grown := peakMemory(t) - memory; grown > 64<<10 {
		t.Errorf("the memory of this process grew by %d KiB", grown)
	}
}

// beside does f while the honest card is used, at least once, and wants that to
// go well.
func (s *stand) beside(t *testing.T, f func() outcome) outcome {
	t.Helper()
	done := make(chan outcome, 1)
	go func() { done <- f() }()
	for {
		if o := s.honest.use(t, p11test.PIN); !o.good() {
			t.Errorf("the card beside it: %v", o)
		}
		select {
		case o := <-done:
			return o
		default:
		}
	}
}

// peakMemory is the most memory that this process ever had, in KiB.
func peakMemory(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "\nVmHWM:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAPINGivenTwiceSpendsTwoTriesOfTheCardAndItsFlagsAreBelieved(t *testing.T) {
	s := newStand(t, p11test.NewLiar(t))
	s.liar.works(t)
	s.liar.Lie(t, "twice:C_Login")
	// Ten tries of the card, two for each of ours: five.
	for i, want := range []token.Tries{token.FewerTries(), token.FewerTries(), token.FewerTries(), token.FewerTries(), token.KnownTries(0)} {
		if o := s.liar.use(t, "654321"); o.verdict.Kind != token.VerdictWrong || o.verdict.Tries != want {
			t.Fatalf("wrong PIN %d: %v, want wrong and %v", i+1, o, want)
		}
	}
	s.liar.Lie(t, "")
	if o := s.liar.use(t, p11test.PIN); o.verdict.Kind != token.VerdictBlocked || o.verdict.Tries != token.KnownTries(0) {
		t.Errorf("the right PIN for a locked card: %v", o)
	}
}

func TestWhatATokenClaimsOfItsTriesIsBelieved(t *testing.T) {
	s := newStand(t, p11test.NewLiar(t))
	s.liar.works(t)
	for claim, want := range map[string]token.Tries{
		"":                             {},
		"flags:C_GetTokenInfo:0x10000": token.FewerTries(),  // CKF_USER_PIN_COUNT_LOW
		"flags:C_GetTokenInfo:0x20000": token.KnownTries(1), // CKF_USER_PIN_FINAL_TRY
		"flags:C_GetTokenInfo:0x30000": token.KnownTries(1),
		"flags:C_GetTokenInfo:0x40000": token.KnownTries(0), // CKF_USER_PIN_LOCKED
		"flags:C_GetTokenInfo:0x70000": token.KnownTries(0),
	} {
		s.liar.Lie(t, claim)
		tok, _, _, err := s.liar.begin(t.Context(), t)
		if err != nil {
			t.Fatal(err)
		}
		if tries, verified, err := tok.Tries(t.Context(), token.SecretPIN); err != nil || verified || tries != want {
			t.Errorf("with %q: %v tries, verified %v, %v, want %v", claim, tries, verified, err, want)
		}
	}
	s.liar.Lie(t, "state:C_GetSessionInfo:1") // CKS_RO_USER_FUNCTIONS: somebody is logged in
	tok, _, _, err := s.liar.begin(t.Context(), t)
	if err != nil {
		t.Fatal(err)
	}
	if _, verified, err := tok.Tries(t.Context(), token.SecretPIN); err != nil || !verified {
		t.Errorf("a session in which somebody is logged in: verified %v, %v", verified, err)
	}
}

func TestATokenThatBecomesAnotherOneIsNotAskedAgain(t *testing.T) {
	s := newStand(t, p11test.NewLiar(t))
	s.liar.works(t)
	tok, identity, key, err := s.liar.begin(t.Context(), t)
	if err != nil {
		t.Fatal(err)
	}
	s.liar.Lie(t, "another-serial:C_GetTokenInfo")
	before := s.liar.Logins(t)
	attempt := func() *token.Attempt { return token.NewAttempt(identity.Card, token.SecretPIN, 1) }
	if v, err := tok.Verify(t.Context(), tokentest.PIN(t, []byte("654321")), attempt()); err != nil || v.Kind != token.VerdictWrong {
		t.Fatalf("Verify gives %v, %v", v, err)
	}
	if v, err := tok.Verify(t.Context(), tokentest.PIN(t, []byte(p11test.PIN)), attempt()); err == nil {
		t.Errorf("the token that has another serial number now gets a PIN: %v", v)
	}
	if _, err := tok.Sign(t.Context(), key, token.RSAPKCS1SHA256, make([]byte, 32)); err == nil {
		t.Error("the token that has another serial number now signs")
	}
	if n := s.liar.Logins(t) - before; n != 1 {
		t.Errorf("it saw %d PINs, want 1", n)
	}
}

func TestAModuleThatGivesNoSlotsShowsAsAReaderThatSaysWhy(t *testing.T) {
	made := p11test.NewLiar(t)
	for _, l := range []string{"crash:C_GetSlotList", "hang:C_GetSlotList", "length:C_GetSlotList:-1", "return:C_GetSlotList:0x30", "crash:C_Initialize"} {
		t.Run(l, func(t *testing.T) {
			s := newStand(t, made)
			s.liar.Lie(t, l)
			until(t, 20*time.Second, "the module shows as broken", func() bool {
				_, err := s.system.Connect(t.Context(), s.liar.Name)
				kind := token.KindOf(err)
				return kind == token.KindModuleFault || kind == token.KindModuleUnavailable
			})
			s.honest.works(t)
			s.liar.Lie(t, "")
			s.liar.works(t)
		})
	}
}
