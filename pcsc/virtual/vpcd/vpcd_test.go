package vpcd

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// noteCard answers 9000 to everything and notes what happens to it.
type noteCard struct {
	seen     []string
	kept     []byte
	transmit func([]byte) []byte
}

func (c *noteCard) ATR() []byte { return []byte{0x3B, 0x00} }
func (c *noteCard) Power()      { c.seen = append(c.seen, "power") }
func (c *noteCard) Reset()      { c.seen = append(c.seen, "reset") }

func (c *noteCard) Transmit(command []byte) []byte {
	c.seen = append(c.seen, hex.EncodeToString(command))
	c.kept = command
	if c.transmit != nil {
		return c.transmit(command)
	}
	return []byte{0x90, 0x00}
}

// unpowered hides the method Power.
type unpowered struct{ Card }

// talk writes bytes as vpcd would, reads so many answers' bytes, and goes away.
func talk(t *testing.T, card Card, write string, read int) (answer []byte, err error) {
	t.Helper()
	reader, inside := net.Pipe()
	served := make(chan error, 1)
	go func() { served <- Serve(t.Context(), inside, card) }()
	go func() { _, _ = io.WriteString(reader, write) }()
	answer = make([]byte, read)
	if n, err := io.ReadFull(reader, answer); err != nil {
		t.Logf("read %d of %d bytes: %v", n, read, err)
		answer = answer[:n]
	}
	if read > 0 {
		reader.Close()
	}
	return answer, <-served
}

func TestReaderUsesTheCard(t *testing.T) {
	card := &noteCard{}
	answer, err := talk(t, card, "\x00\x01\x01\x00\x01\x04\x00\x01\x02\x00\x04\x00\x20\x00\x80\x00\x01\x00\x00\x01\x04", 12)
	if err != nil {
		t.Fatal(err)
	}
	if want := "\x00\x02\x3B\x00\x00\x02\x90\x00\x00\x02\x3B\x00"; string(answer) != want {
		t.Errorf("the card answered %x, want %x", answer, want)
	}
	if got, want := strings.Join(card.seen, " "), "power reset 00200080"; got != want {
		t.Errorf("the card saw %q, want %q", got, want)
	}
	if !bytes.Equal(card.kept, make([]byte, 4)) {
		t.Errorf("after the answer the command is %x, want zeros", card.kept)
	}
}

func TestPowerIsAResetForACardWithoutASwitch(t *testing.T) {
	card := &noteCard{}
	if _, err := talk(t, unpowered{card}, "\x00\x01\x01\x00\x01\x04", 4); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(card.seen, " "), "reset"; got != want {
		t.Errorf("the card saw %q, want %q", got, want)
	}
}

func TestLongestCommandAndAnswerPass(t *testing.T) {
	card := &noteCard{transmit: bytes.Clone}
	command := bytes.Repeat([]byte{0x5A}, maxFrame)
	answer, err := talk(t, card, "\xFF\xFF"+string(command), 2+maxFrame)
	if err != nil || string(answer) != "\xFF\xFF"+string(command) {
		t.Errorf("answer of %d bytes, error %v", len(answer), err)
	}
}

func TestUselessMessagesAndAnswersEndTheConnection(t *testing.T) {
	tests := map[string]struct {
		write string
		give  []byte
		want  error
	}{
		"a message of no bytes": {"\x00\x00", nil, ErrProtocol},
		"no answer":             {"\x00\x02\x00\x20", nil, ErrMute},
		"too long an answer":    {"\x00\x02\x00\x20", make([]byte, maxFrame+1), ErrMute},
	}
	for name, test := range tests {
		card := &noteCard{transmit: func([]byte) []byte { return test.give }}
		if _, err := talk(t, card, test.write, 0); !errors.Is(err, test.want) {
			t.Errorf("%s: error %v, want %v", name, err, test.want)
		}
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	_, inside := net.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- Serve(ctx, inside, &noteCard{}) }()
	cancel()
	if err := <-served; err != nil {
		t.Errorf("Serve returned %v, want nil", err)
	}
}

func TestRunComesBackWithTheReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		card := &noteCard{}
		var ends []net.Conn
		dialed := 0
		dial := func(context.Context) (net.Conn, error) {
			if dialed++; dialed < 10 {
				return nil, errors.New("nobody listens")
			}
			there, here := net.Pipe()
			ends = append(ends, there)
			return here, nil
		}
		done := make(chan error)
		go func() { done <- Run(ctx, dial, card) }()
		time.Sleep(9 * lastPause)
		synctest.Wait()
		if len(ends) != 1 {
			t.Fatalf("connected %d times after %d attempts, want once", len(ends), dialed)
		}
		ends[0].Close()
		time.Sleep(firstPause)
		synctest.Wait()
		if len(ends) != 2 {
			t.Fatalf("connected %d times after the reader came back, want twice", len(ends))
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v, want nil", err)
		}
	})
}
