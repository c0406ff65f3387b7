package prompt

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
	"github.com/inkan-project/inkan/token"
)

// fakeLink is a link without a socket, so that time can be made to pass.
type fakeLink struct {
	in   chan *inkanpb.PinPacket // from the agent
	out  chan *inkanpb.PinPacket // to the agent
	once sync.Once
	end  chan struct{}
	stop error // what Send answers, if not nil
}

func newFakeLink() *fakeLink {
	return &fakeLink{in: make(chan *inkanpb.PinPacket, 16), out: make(chan *inkanpb.PinPacket, 16), end: make(chan struct{})}
}

func (l *fakeLink) Receive() (*inkanpb.PinPacket, []int, error) {
	select {
	case p := <-l.in:
		return p, nil, nil
	case <-l.end:
		return nil, nil, io.EOF
	}
}

func (l *fakeLink) Send(p *inkanpb.PinPacket) error {
	if l.stop != nil {
		return l.stop
	}
	l.out <- p
	return nil
}

func (l *fakeLink) Close() error {
	l.once.Do(func() { close(l.end) })
	return nil
}

// fakeAgent serves a fake link of uid 1000 in a bubble and returns it after
// its hello.
func fakeAgent(t *testing.T, s *Server) *fakeLink {
	t.Helper()
	l := newFakeLink()
	go s.serveAgent(t.Context(), alwaysAlive(), l)
	l.in <- hello(1, false)
	if (<-l.out).GetWelcome() == nil {
		t.Fatal("no welcome")
	}
	synctest.Wait()
	return l
}

func alwaysAlive() Peer {
	return Peer{UID: 1000, Alive: func() error { return nil }, Close: func() {}}
}

func TestSilentConnectionIsDroppedAfterTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		l := newFakeLink()
		New(Config{}).serveAgent(t.Context(), alwaysAlive(), l) // returns by itself
		if got := time.Since(start); got != helloTimeout {
			t.Errorf("dropped after %v, want %v", got, helloTimeout)
		}
	})
}

func TestPromptsOfOneAgentComeOneByOneInTheOrderOfTheCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{})
		l := fakeAgent(t, s)
		const calls = 8
		errs := make(chan error, calls)
		for i := range int32(calls) {
			go func() {
				r := request()
				r.PID = i
				_, err := s.Ask(t.Context(), r)
				errs <- err
			}()
			synctest.Wait()
		}
		for i := range int32(calls) {
			synctest.Wait()
			if len(l.out) != 1 {
				t.Fatalf("%d prompts are open, want 1", len(l.out))
			}
			p := (<-l.out).GetPrompt()
			if p.GetPid() != i {
				t.Errorf("prompt for call %d comes at place %d", p.GetPid(), i)
			}
			l.in <- cancelled(p.GetPromptId())
			if err := <-errs; token.KindOf(err) != token.KindPromptCancelled {
				t.Errorf("Ask() = %v", err)
			}
		}
	})
}

func TestTimeToAnswerStartsWithThePromptNotWithTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{})
		l := fakeAgent(t, s)
		start := time.Now()
		ends := make(chan time.Duration, 2)
		for range 2 {
			go func() {
				r := request()
				r.Timeout = 0 // one minute
				if _, err := s.Ask(t.Context(), r); token.KindOf(err) != token.KindPromptTimeout {
					t.Errorf("Ask() = %v, want a timeout", err)
				}
				ends <- time.Since(start)
			}()
		}
		for i, want := range []time.Duration{time.Minute, 2 * time.Minute} {
			if got := <-ends; got != want {
				t.Errorf("call %d ends after %v, want %v", i, got, want)
			}
		}
		for i, want := range []string{"prompt", "cancel", "prompt", "cancel"} {
			if p := <-l.out; (p.GetPrompt() != nil) != (want == "prompt") {
				t.Errorf("packet %d is %T, want a %s", i, p.GetPacket(), want)
			}
		}
	})
}

func TestCallThatWaitsForItsTurnEndsWithItsContextOrItsAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{})
		l := fakeAgent(t, s)
		ask := func(ctx context.Context) chan error {
			done := make(chan error, 1)
			go func() {
				_, err := s.Ask(ctx, request())
				done <- err
			}()
			synctest.Wait()
			return done
		}
		first := ask(t.Context())
		ctx, cancel := context.WithCancel(t.Context())
		second, third := ask(ctx), ask(t.Context())
		cancel()
		if err := <-second; token.KindOf(err) != token.KindCallEnded {
			t.Errorf("second call = %v, want CALL_ENDED", err)
		}
		_ = l.Close()
		for _, done := range []chan error{first, third} {
			if err := <-done; token.KindOf(err) != token.KindPINAgentLost || !errors.Is(err, io.EOF) {
				t.Errorf("call = %v, want PIN_AGENT_LOST with the reason", err)
			}
		}
		if len(l.out) != 1 {
			t.Errorf("%d prompts were sent, want 1", len(l.out))
		}
	})
}

func TestSecondAnswerToAPromptIsDiscarded(t *testing.T) {
	a := newAgent(alwaysAlive(), newFakeLink(), nil, SourceProgram)
	before := openFiles(t)
	q := a.openQuestion()
	for range 3 { // nobody has taken the first when the others come
		packet := answer(q.id, len(demoPIN))
		fd, err := unix.Dup(memfd(t, demoPIN))
		if err != nil {
			t.Fatal(err)
		}
		if err := a.handle(packet, []int{fd}); err != nil {
			t.Errorf("handle() = %v", err)
		}
	}
	if len(q.reply) != 1 {
		t.Errorf("replies = %d, want 1", len(q.reply))
	}
	a.closeQuestion(q)
	if after := openFiles(t) - 3; after != before { // 3: our own memfds
		t.Errorf("descriptors = %d before, %d after", before, after)
	}
}

func TestAgentThatReadsNothingIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{})
		l := fakeAgent(t, s)
		l.stop = errors.New("its buffer is full")
		if _, err := s.Ask(t.Context(), request()); token.KindOf(err) != token.KindPINAgentLost || !errors.Is(err, l.stop) {
			t.Errorf("Ask() = %v, want PIN_AGENT_LOST with the reason", err)
		}
		<-l.end
		if _, err := s.Ask(t.Context(), request()); token.KindOf(err) != token.KindNoPINAgent {
			t.Errorf("next Ask() = %v, want NO_PIN_AGENT", err)
		}
	})
}

func TestAgentThatCannotBeWelcomedIsNeverAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{})
		l := newFakeLink()
		l.stop = errors.New("its buffer is full")
		l.in <- hello(1, false)
		s.serveAgent(t.Context(), alwaysAlive(), l)
		if _, err := s.Ask(t.Context(), request()); token.KindOf(err) != token.KindNoPINAgent {
			t.Errorf("Ask() = %v, want NO_PIN_AGENT", err)
		}
	})
}
