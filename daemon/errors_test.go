package daemon

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/daemon/internal/prompt"
	"github.com/inkan-project/inkan/proto/catalogue"
	"github.com/inkan-project/inkan/token"
)

// refusing is a prompter with whom every call ends as the test says.
type refusing struct{ next *token.Error }

func (r *refusing) Ask(context.Context, prompt.Request) (prompt.Answer, error) {
	return prompt.Answer{}, r.next
}

// TestEveryErrorComesBackAsItWentIn sends each reason from the innermost part of
// a real inkand over its socket to a program, in both languages.
func TestEveryErrorComesBackAsItWentIn(t *testing.T) {
	dir := t.TempDir()
	person := &refusing{}
	ctx, stop := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	socket := filepath.Join(dir, "inkan.sock")
	go func() {
		ended <- Run(ctx, Options{
			Config: Config{StateDir: filepath.Join(dir, "state"), Socket: socket}, Virtual: true, Version: "test",
			System: insert(t, filepath.Join(dir, "card")), Logger: slog.New(slog.DiscardHandler),
			Ready: func() { close(ready) }, prompter: person,
		})
	}()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	for _, language := range []string{"en", "ja"} {
		c, err := client.Dial(t.Context(), client.Options{Socket: socket, Language: language})
		if err != nil {
			t.Fatal(err)
		}
		keys, err := c.Keys(t.Context())
		if err != nil || len(keys) == 0 {
			t.Fatalf("Keys: %d, %v", len(keys), err)
		}
		for _, reason := range catalogue.Reasons() {
			person.next = token.Errorf(token.Kind(catalogue.Name(reason)), "the detail").InJapanese("詳しい内容").
				WithTries(token.KnownTries(3)).Because(errors.New("a secret cause"))
			for _, name := range catalogue.Placeholders(reason) {
				person.next = person.next.With(name, "value-of-"+name)
			}
			_, err := c.VerifyPIN(t.Context(), keys[0].GetCardId())
			checkCrossed(t, language, err, person.next)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// checkCrossed checks that an error says all that its origin did, and no more.
func checkCrossed(t *testing.T, language string, err error, origin *token.Error) {
	t.Helper()
	reason := catalogue.Find(string(origin.Kind))
	e, ok := errors.AsType[*client.Error](err)
	if !ok {
		t.Errorf("%s became %v", reason, err)
		return
	}
	want := catalogue.In(language, reason, origin.Meta)
	if e.Reason != reason || e.Code != catalogue.Code(reason) || e.TriesLeft != 3 || !e.TriesKnown {
		t.Errorf("%s came as %s %s with tries %d %t", reason, e.Reason, e.Code, e.TriesLeft, e.TriesKnown)
	}
	if e.Message != want.Message || e.Next != want.Next || e.Why != want.Cause || e.Who != want.Who {
		t.Errorf("%s says %q %q %q %q, want %+v", reason, e.Message, e.Next, e.Why, e.Who, want)
	}
	st := status.Convert(err)
	if st.Code() != catalogue.Status(reason) {
		t.Errorf("%s has the code %v, want %v", reason, st.Code(), catalogue.Status(reason))
	}
	links := 0
	for _, d := range st.Details() {
		if help, ok := d.(*errdetails.Help); ok {
			links = len(help.GetLinks())
		}
	}
	if links != 2 || strings.Contains(st.String(), "secret cause") {
		t.Errorf("%s has %d links: %s", reason, links, st)
	}
}
