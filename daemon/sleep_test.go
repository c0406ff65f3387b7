package daemon_test

import (
	"testing"

	"github.com/inkan-project/inkan/daemon/daemontest"
	"github.com/inkan-project/inkan/daemon/internal/logind/logindtest"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

func TestWhileThePCSleepsNoCardIsKnownAndAfterwardsItSigns(t *testing.T) {
	login := logindtest.Start(t)
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", login.Address)
	d := daemontest.Start(t, daemontest.Options{})
	login.AwaitDelay()
	c := d.Client(rightPIN)
	if _, err := sign(c, d.Key("9c")); err != nil { // the card is held from here on
		t.Fatal(err)
	}
	login.Sleep()
	d.Await(func(s *inkanpb.Status) bool { return len(s.GetCards()) == 0 })
	login.Wake()
	login.AwaitDelay() // for the next sleep
	d.Await(func(s *inkanpb.Status) bool { return len(s.GetCards()) == 1 })
	if _, err := sign(c, d.Key("9c")); err != nil {
		t.Errorf("signing after the sleep: %v", err)
	}
}
