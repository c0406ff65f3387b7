package pcscdtest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/inkan-project/inkan/daemon/daemontest"
	"github.com/inkan-project/inkan/pcsc/pcsctest"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// strange is a card that knows no command.
type strange struct{}

func (strange) ATR() []byte            { return []byte{0x3B, 0x80, 0x80, 0x01, 0x01} } // ISO/IEC 7816-3 section 8: T=1 alone
func (strange) Reset()                 {}
func (strange) Transmit([]byte) []byte { return []byte{0x6D, 0x00} } // ISO/IEC 7816-4 table 6

func TestStatusAndDoctorNameTheLayerThatIsMissing(t *testing.T) {
	b := &bench{t: t, pcscd: pcsctest.Start(t, pcsctest.Options{Down: true})}
	b.Daemon = daemontest.Start(t, daemontest.Options{PCSCD: true, Config: shortTimes(t, "2s")})
	reader := b.pcscd.Reader("Inkan Test")
	b.missing(inkanpb.Layer_LAYER_PCSCD, "INK-2011")
	b.pcscd.Restart()
	b.missing(inkanpb.Layer_LAYER_CARD, "INK-2013")
	reader.Insert(strange{})
	b.missing(inkanpb.Layer_LAYER_APPLICATION, "INK-2014")
	reader.Remove()
	b.missing(inkanpb.Layer_LAYER_CARD, "INK-2013")
	c := newCard(t, nil)
	reader.Insert(c)
	b.missing(inkanpb.Layer_LAYER_UNSPECIFIED, "")
	b.pcscd.Kill()
	b.missing(inkanpb.Layer_LAYER_PCSCD, "INK-2011")
	b.pcscd.Restart()
	b.missing(inkanpb.Layer_LAYER_UNSPECIFIED, "")
	if truth := c.truth(t); truth.Verifies != 0 || truth.PINLeft != 10 {
		t.Errorf("looking spent tries: %+v", truth)
	}
}

// missing waits until the status names this layer, and checks that doctor says
// the same with this code.
func (b *bench) missing(layer inkanpb.Layer, code string) {
	b.t.Helper()
	b.Await(func(s *inkanpb.Status) bool { return s.GetService().GetMissing() == layer })
	steps, err := b.Client(nil).Diagnose(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	var found []string
	for _, s := range steps {
		if s.GetResult() == inkanpb.StepResult_STEP_RESULT_FAILED {
			found = append(found, fmt.Sprintf("%s %s", s.GetLayer(), s.GetCode()))
			if s.GetEn() == "" || s.GetJa() == "" {
				b.t.Errorf("step %v has no words", s)
			}
		}
	}
	want := ""
	if code != "" {
		want = fmt.Sprintf("%s %s", layer, code)
	}
	if got := strings.Join(found, ", "); got != want {
		b.t.Errorf("doctor finds %q, want %q", got, want)
	}
}
