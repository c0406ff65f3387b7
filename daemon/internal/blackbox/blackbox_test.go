package blackbox_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/blackbox"
	"github.com/inkan-project/inkan/pcsc"
)

// fake is a card that answers as it is told.
type fake struct {
	pcsc.Card
	answer []byte
	err    error
}

func (f *fake) ATR() []byte                                      { return []byte{0x3B, 0x00} }
func (f *fake) Transmit(context.Context, []byte) ([]byte, error) { return f.answer, f.err }
func (f *fake) Reset(context.Context) error                      { return f.err }

func newRecorder() *blackbox.Recorder {
	return blackbox.New(func() time.Time { return time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC) })
}

func TestSecretsAndAnswersAreLeftOutBeforeTheyAreKept(t *testing.T) {
	r := newRecorder()
	f := &fake{answer: []byte{0x90, 0x00}}
	card := r.Card(f, "PIV")
	send := func(command string) {
		if _, err := card.Transmit(t.Context(), []byte(command)); !errors.Is(err, f.err) {
			t.Fatalf("Transmit: %v", err)
		}
	}
	send("\x00\xA4\x04\x00\x05\xA0\x00\x00\x03\x08")
	send("\x00\x20\x00\x80\x08" + "481516\xff\xff")
	send("\x00\x2C\x00\x80\x10" + "48151623" + "424242\xff\xff")
	send("\x00\x87\x11\x9C\x08" + "48151623")
	f.answer = []byte("48151623\x90\x00")
	send("\x00\xCB\x3F\xFF\x05\x5C\x03\x5F\xC1\x02")
	f.err = fmt.Errorf("48151623: %w", pcsc.ErrNoAnswer)
	send("\x00\x20\x00\x80\x08" + "481516\xff\xff")
	f.err = errors.New("48151623")
	_ = card.Reset(t.Context())

	trace := strings.Join(r.Exchanges(), "\n")
	for _, secret := range []string{"481516", "34383135", "424242", "343234"} {
		if strings.Contains(trace, secret) {
			t.Errorf("%s is kept:\n%s", secret, trace)
		}
	}
	for _, want := range []string{
		"2026-11-20T09:00:00.000Z PIV: ATR 3b00", "> 00a4040005a000000308 < 9000 (", "> 00200080 [secret] < 9000 (",
		"> 002c0080 [secret] < 9000 (", "> 0087119c [9 bytes left out] < 9000 (", "> 00cb3fff055c035fc102 < [8 bytes] 9000 (",
		"> 00200080 [secret] < no answer from the card: outcome unknown (", "reset < another error",
	} {
		if !strings.Contains(trace, want) {
			t.Errorf("the trace lacks %q:\n%s", want, trace)
		}
	}
}

func TestOnlyTheNewestIsKept(t *testing.T) {
	r := newRecorder()
	log := slog.New(slog.NewTextHandler(r, nil))
	card := r.Card(&fake{answer: []byte{0x90, 0x00}}, "PIV")
	for i := range 1000 {
		log.Info("line", "n", i)
		if _, err := card.Transmit(t.Context(), []byte{0, 0xC0, byte(i >> 8), byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	lines, exchanges := r.Log(), r.Exchanges()
	if len(lines) != 300 || !strings.HasSuffix(lines[0], "n=700") || !strings.HasSuffix(lines[299], "n=999") {
		t.Errorf("%d lines from %q", len(lines), lines[0])
	}
	if n := len(exchanges); n != 400 || !strings.Contains(exchanges[0], "> 00c00258 <") || !strings.Contains(exchanges[n-1], "> 00c003e7 <") {
		t.Errorf("%d exchanges from %q to %q", n, exchanges[0], exchanges[n-1])
	}
	log.Info(strings.Repeat("長", 10_000))
	if all := r.Log(); len(all[len(all)-1]) > 2010 {
		t.Errorf("a line of %d bytes is kept", len(all[len(all)-1]))
	}
}
