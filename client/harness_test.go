package client_test

import (
	"context"
	"os"
	"testing"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/client/internal/clientfake"
)

// startFake starts a fake inkand in a directory short enough for a socket.
func startFake(t *testing.T) *clientfake.Server {
	t.Helper()
	dir, err := os.MkdirTemp("", "inkan")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s, err := clientfake.Start(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// dial connects to the fake with the language and source of o.
func dial(t *testing.T, s *clientfake.Server, o client.Options) *client.Client {
	t.Helper()
	o.Socket, o.PINSocket = s.Socket, s.PINSocket
	c, err := client.Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// sourceFunc is a PINSource made of a function.
type sourceFunc func(ctx context.Context, p client.Prompt, buf []byte) (int, error)

func (f sourceFunc) PIN(ctx context.Context, p client.Prompt, buf []byte) (int, error) {
	return f(ctx, p, buf)
}

// digits gives the digits 1 to n as the PIN; six of them are right.
func digits(n int) client.PINSource {
	return sourceFunc(func(_ context.Context, _ client.Prompt, buf []byte) (int, error) {
		for i := range n {
			buf[i] = byte('1' + i)
		}
		return n, nil
	})
}
