// Package clienttest is an inkand for the tests of programs that import package
// client: the real API on real Unix sockets, in the process of the test, with
// keys in memory and no card, reader or privilege needed.
//
//	s := clienttest.Start(t)
//	c := s.Client(t, clienttest.PIN(clienttest.CardPIN))
//	s.Fail("Sign", inkanpb.Reason_REASON_CARD_REMOVED)
//
// It guarantees that a client sees what it would see of inkand with a virtual
// card: [Conformance] is the proof, which the fake and the real inkand both
// pass. It guarantees nothing about records and tries across a restart: a
// restarted fake begins anew. The caller ends it: [Start] does so with its
// test, [New] leaves it to [Server.Close].
package clienttest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/client/internal/clientfake"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// What is known of the card. It has three keys: slot "9a" wants the PIN, slot
// "9c" wants it each time, slot "9e" never.
const (
	CardID         = clientfake.CardID
	CardPIN        = "123456"
	CardUnlockCode = "12345678"
)

// Server is a running fake. Its methods may be used by many goroutines, but for
// Restart and Close.
type Server struct {
	dir  string
	fake *clientfake.Server // nil once stopped
}

// New starts a fake in a new temporary folder.
func New() (*Server, error) {
	dir, err := os.MkdirTemp("", "inkan") // short: the path of a socket has 107 bytes at most
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir}
	if s.fake, err = clientfake.Start(dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// Start is [New] for a test, with which it ends.
func Start(t testing.TB) *Server {
	t.Helper()
	s, err := New()
	if err != nil {
		t.Fatalf("starting a fake inkand: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("ending the fake inkand: %v", err)
		}
	})
	return s
}

// Close ends the fake and removes its folder.
func (s *Server) Close() error {
	s.fake.Stop()
	return os.RemoveAll(s.dir)
}

// Options lead a client to the fake. Set what else is wanted.
func (s *Server) Options() client.Options {
	return client.Options{Socket: s.fake.Socket, PINSocket: s.fake.PINSocket, Language: "en"}
}

// Client returns a client that ends with the test; pin may be nil.
func (s *Server) Client(t testing.TB, pin client.PINSource) *client.Client {
	t.Helper()
	o := s.Options()
	o.PIN = pin
	c, err := client.Dial(context.Background(), o)
	if err != nil {
		t.Fatalf("dialling the fake inkand: %v", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Fail lets the next call of a method fail as inkand would, after those that
// were scripted before. method is a name of proto/inkan/v1 without its service,
// for example "Sign"; metadata are names and values, for example "tries_left",
// "2". What streams, such as WatchStatus, cannot be scripted: see [Server.Stop].
func (s *Server) Fail(method string, reason inkanpb.Reason, metadata ...string) {
	s.fake.FailNext(method, clientfake.StatusError(reason, metadata...))
}

// Answer gives the next call of a method this answer, after those that were
// scripted before.
func (s *Server) Answer(method string, reply proto.Message) {
	s.fake.Script(method, func(context.Context, any) (any, error) { return reply, nil })
}

// Hang lets the next call of a method go on until the caller gives up.
func (s *Server) Hang(method string) {
	s.fake.Script(method, func(ctx context.Context, _ any) (any, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
}

// Calls returns how many calls were made that do not stream.
func (s *Server) Calls() int { return s.fake.Calls() }

// Warn lets signatures carry these codes, for example "INK-6001".
func (s *Server) Warn(codes ...string) { s.fake.Warn(codes...) }

// SetTries sets the tries left: of the PIN and of the unlock code.
func (s *Server) SetTries(pin, unlockCode uint32) {
	s.fake.SetTries(pin)
	s.fake.SetUnlockTries(unlockCode)
}

// Hold makes the card held.
func (s *Server) Hold() { s.fake.Hold() }

// TakeCardOut empties the reader.
func (s *Server) TakeCardOut() { s.fake.TakeCardOut() }

// PutCardIn puts the card back.
func (s *Server) PutCardIn() { s.fake.PutCardIn() }

// HideCards makes the caller one who is not allowed to see cards.
func (s *Server) HideCards() { s.fake.HideCards() }

// SetAPILevel makes it an older or newer inkand.
func (s *Server) SetAPILevel(level uint32) { s.fake.SetAPILevel(level) }

// Stop ends the service, as an update of inkand does; calls fail with
// [client.ErrServiceUnreachable] until Restart.
func (s *Server) Stop() { s.fake.Stop() }

// Restart serves again after Stop, on the same sockets, with a card as at
// first.
func (s *Server) Restart() error {
	fake, err := clientfake.Start(s.dir)
	if err != nil {
		return fmt.Errorf("restarting the fake inkand: %w", err)
	}
	s.fake = fake
	return nil
}

// PIN is a [client.PINSource] that always gives these digits. It is for tests
// alone: a PIN in a program is a PIN lost.
type PIN string

// PIN implements [client.PINSource].
func (p PIN) PIN(_ context.Context, _ client.Prompt, buf []byte) (int, error) {
	return copy(buf, p), nil
}

// PINFunc is a [client.PINSource] made of a function.
type PINFunc func(ctx context.Context, p client.Prompt, buf []byte) (int, error)

// PIN implements [client.PINSource].
func (f PINFunc) PIN(ctx context.Context, p client.Prompt, buf []byte) (int, error) {
	return f(ctx, p, buf)
}
