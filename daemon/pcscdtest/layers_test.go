package pcscdtest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/inkan-project/inkan/daemon/daemontest"
	"github.com/inkan-project/inkan/pcsc/pcsctest"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
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

// Each layer is broken at its own place, and doctor names it and no other.
func TestDoctorNamesEachLayerThatBreaks(t *testing.T) {
	t.Run("no reader", func(t *testing.T) {
		b := &bench{t: t, pcscd: pcsctest.Start(t, pcsctest.Options{Bare: true})}
		b.Daemon = daemontest.Start(t, daemontest.Options{PCSCD: true, Config: shortTimes(t, "2s")})
		b.missing(inkanpb.Layer_LAYER_READER, "INK-2012")
	})
	t.Run("a card without keys", func(t *testing.T) {
		b := newBench(t)
		b.pcscd.Reader("Inkan Test").Insert(newCard(t, map[pivcard.Slot]pivcard.KeyType{}))
		b.missing(inkanpb.Layer_LAYER_UNSPECIFIED, "INK-2035 LAYER_KEYS")
	})
	t.Run("certificates that have expired", func(t *testing.T) {
		b := &bench{t: t, pcscd: pcsctest.Start(t, pcsctest.Options{})}
		later := func() time.Time { return time.Now().AddDate(50, 0, 0) }
		b.Daemon = daemontest.Start(t, daemontest.Options{PCSCD: true, Config: shortTimes(t, "2s"), Now: later})
		b.pcscd.Reader("Inkan Test").Insert(newCard(t, nil))
		b.missing(inkanpb.Layer_LAYER_UNSPECIFIED, "INK-2031 LAYER_CERTIFICATES")
	})
	t.Run("a locked PIN", func(t *testing.T) {
		b := newBench(t)
		c := newCard(t, nil)
		for range pivcard.Tries { // VERIFY of the PIN (NIST SP 800-73-4 part 2, section 3.2.1)
			c.Transmit([]byte{0x00, 0xA4, 0x04, 0x00, 0x05, 0xA0, 0x00, 0x00, 0x03, 0x08})
			c.Transmit([]byte{0x00, 0x20, 0x00, 0x80, 0x08, '9', '9', '9', '9', '9', '9', 0xFF, 0xFF})
		}
		b.pcscd.Reader("Inkan Test").Insert(c)
		b.missing(inkanpb.Layer_LAYER_UNSPECIFIED, "INK-1002 LAYER_PIN")
	})
	t.Run("a stopped card", func(t *testing.T) {
		b := newBench(t)
		b.pcscd.Reader("Inkan Test").Insert(newCard(t, nil))
		card := b.cards(1)[0]
		serial := card.GetSerial()
		if _, err := b.Client(rightPIN).StopHere(t.Context(), card.GetId(), serial[len(serial)-4:], "紛失"); err != nil {
			t.Fatal(err)
		}
		b.missing(inkanpb.Layer_LAYER_UNSPECIFIED, "INK-2019 LAYER_PIN")
	})
}

// missing waits until the status names this layer, and checks that doctor says
// the same with this code. A code may be followed by the layer that doctor
// names where status names none.
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
			if s.GetEn() == "" || s.GetJa() == "" || s.GetNextEn() == "" || s.GetNextJa() == "" {
				b.t.Errorf("step %v has no words", s)
			}
		}
	}
	want := ""
	if code, in, ok := strings.Cut(code, " "); ok { // a layer without which status does not call all missing
		want = in + " " + code
	} else if code != "" {
		want = fmt.Sprintf("%s %s", layer, code)
	}
	if got := strings.Join(found, ", "); got != want {
		b.t.Errorf("doctor finds %q, want %q", got, want)
	}
}
