package cli_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/inkan-project/inkan/client/cli/clitest"
	"github.com/inkan-project/inkan/client/internal/clientfake"
	"github.com/inkan-project/inkan/proto/catalogue"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// fakeKey finds the fake of a script.
type fakeKey struct{}

func TestScripts(t *testing.T) {
	clitest.Run(t, clitest.Config{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env, run string) error {
			fake, err := clientfake.Start(run)
			if err != nil {
				return err
			}
			env.Defer(fake.Stop)
			env.Values[fakeKey{}] = fake
			for _, k := range fake.Keys {
				env.Setenv("KEY_"+strings.ToUpper(k.Proto.GetSlot()), k.Proto.GetId())
				env.Setenv("TAIL_"+strings.ToUpper(k.Proto.GetSlot()), strings.TrimPrefix(k.Proto.GetId(), clientfake.CardID+".")[:12])
			}
			return nil
		},
		Commands: map[string]clitest.Command{"fake": fakeCommand},
	})
}

// fakeCommand changes the inkand of a script:
//
//	fake fail METHOD REASON [name=value...]   the next call of the method fails
//	fake tries N                              tries left
//	fake unlock-tries N                       tries of the unlock code left
//	fake confirm                              few tries must be confirmed
//	fake hold                                 the card is held
//	fake take-out                             the card is in the register only
//	fake troubles                             status knows of everything that holds a try up
//	fake no-agents                            pin.sock is gone
//	fake break REASON                         diagnosis finds this about the card
//	fake hide-cards                           the caller may not see cards
//	fake warn CODE...                         signatures carry warnings
func fakeCommand(ts *testscript.TestScript, _ bool, args []string) {
	fake, ok := ts.Value(fakeKey{}).(*clientfake.Server)
	if !ok || len(args) == 0 {
		ts.Fatalf("usage: fake what [args...]")
	}
	switch what, args := args[0], args[1:]; what {
	case "fail":
		var pairs []string
		for _, pair := range args[2:] {
			name, value, _ := strings.Cut(pair, "=")
			pairs = append(pairs, name, value)
		}
		reason, ok := inkanpb.Reason_value["REASON_"+args[1]]
		if !ok {
			ts.Fatalf("no reason %s", args[1])
		}
		fake.FailNext(args[0], clientfake.StatusError(inkanpb.Reason(reason), pairs...))
	case "tries":
		n, err := strconv.Atoi(args[0])
		ts.Check(err)
		fake.SetTries(uint32(n))
	case "unlock-tries":
		n, err := strconv.Atoi(args[0])
		ts.Check(err)
		fake.SetUnlockTries(uint32(n))
	case "confirm":
		fake.ConfirmFewTries()
	case "hold":
		fake.Hold()
	case "take-out":
		fake.TakeCardOut()
	case "troubles":
		fake.ChangeStatus(troubles)
	case "no-agents":
		fake.StopAgents()
	case "break":
		reason, ok := inkanpb.Reason_value["REASON_"+args[0]]
		if !ok {
			ts.Fatalf("no reason %s", args[0])
		}
		fake.Break(inkanpb.Reason(reason))
	case "hide-cards":
		fake.HideCards()
	case "warn":
		fake.Warn(args...)
	default:
		ts.Fatalf("unknown: fake %s", what)
	}
}

// troubles is all that status can say of a card.
func troubles(c *inkanpb.CardStatus) {
	c.Pin.Unaccounted, c.Pin.Wait = 2, durationpb.New(29500*time.Millisecond)
	c.UnlockCode.Reinsert = true
	en, ja := catalogue.In("en", inkanpb.Reason_REASON_USED_ELSEWHERE, nil), catalogue.In("ja", inkanpb.Reason_REASON_USED_ELSEWHERE, nil)
	c.Notices = []*inkanpb.ServiceNotice{{Code: "INK-6003", En: en.Message, Ja: ja.Message}}
}
