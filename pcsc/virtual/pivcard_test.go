package virtual_test

import (
	"bytes"
	"testing"

	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/pcsc/virtual"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
)

func TestCorporateCardLosesItsLoginByResetAndWhenPulled(t *testing.T) {
	card, err := pivcard.Open(pivcard.Options{
		Dir: t.TempDir(), Keys: map[pivcard.Slot]pivcard.KeyType{pivcard.SlotAuthentication: pivcard.P256},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer card.Close()
	var system pcsc.System
	readers := virtual.New(virtual.Options{})
	system = readers
	login := func(c pcsc.Card) {
		t.Helper()
		send(t, c, "\x00\xA4\x04\x00\x05\xA0\x00\x00\x03\x08\x00", 0x90)
		send(t, c, "\x00\x20\x00\x80\x08123456\xFF\xFF", 0x90)
		send(t, c, "\x00\x20\x00\x80", 0x90)
	}
	connect := func() pcsc.Card {
		t.Helper()
		c, err := system.Connect(t.Context(), virtual.DefaultReader)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if err := readers.Insert(virtual.DefaultReader, card); err != nil {
		t.Fatal(err)
	}
	c := connect()
	if !bytes.Equal(c.ATR(), card.ATR()) {
		t.Errorf("ATR = %x, want %x", c.ATR(), card.ATR())
	}
	login(c)
	if err := c.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	send(t, c, "\x00\x20\x00\x80", 0x69) // nothing is selected
	login(c)
	if err := c.Disconnect(pcsc.Leave); err != nil {
		t.Fatal(err)
	}
	c = connect()
	send(t, c, "\x00\x20\x00\x80", 0x90) // was left as it was
	if err := c.Disconnect(pcsc.Reset); err != nil {
		t.Fatal(err)
	}
	c = connect()
	send(t, c, "\x00\x20\x00\x80", 0x69)
	login(c)
	if err := readers.Remove(virtual.DefaultReader); err != nil {
		t.Fatal(err)
	}
	if err := readers.Insert(virtual.DefaultReader, card); err != nil {
		t.Fatal(err)
	}
	send(t, connect(), "\x00\x20\x00\x80", 0x69)
}

// send checks the first byte of the status word.
func send(t *testing.T, c pcsc.Card, command string, want byte) {
	t.Helper()
	answer, err := c.Transmit(t.Context(), []byte(command))
	if err != nil {
		t.Fatal(err)
	}
	if got := answer[len(answer)-2]; got != want {
		t.Errorf("%X answered %X, want SW1 %02X", command[:4], answer, want)
	}
}
