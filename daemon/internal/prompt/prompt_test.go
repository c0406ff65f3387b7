package prompt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/inkan-project/inkan/token"
)

func TestPINComesFromTheAgentWithItsSource(t *testing.T) {
	for gid, want := range map[uint32]Source{promptGID: SourcePrompt, promptGID + 1: SourceProgram} {
		h := newHarness(t, nil)
		agent := h.agent(1000, gid, false)
		before := openFiles(t)
		for range 20 {
			ask := h.ask(t.Context(), request())
			p := agent.prompted()
			fd := memfd(t, demoPIN)
			agent.send(answer(p.GetPromptId(), len(demoPIN)), fd)
			ask.gives(demoPIN, want)
			_ = unix.Close(fd)
		}
		if after := openFiles(t); after != before {
			t.Errorf("descriptors = %d before, %d after", before, after)
		}
	}
}

func TestWithoutAGroupOfTheTrustedPromptEverybodyIsAProgram(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.PromptGID = nil })
	agent := h.agent(1000, 0, false)
	ask := h.ask(t.Context(), request())
	agent.send(answer(agent.prompted().GetPromptId(), len(demoPIN)), memfd(t, demoPIN))
	ask.gives(demoPIN, SourceProgram)
}

func TestPromptShowsWhatTheRequestSays(t *testing.T) {
	h := newHarness(t, nil)
	agent := h.agent(1000, promptGID, false)
	r := Request{
		UID: 1000, Program: "/usr/bin/denshi-nyusatsu", PID: 4242, Ask: AskUnlockCode,
		Card: "piv-0011", Company: "株式会社サンプル", KeyLabel: "署名用", Purpose: "sign",
		DocumentNames: []string{"入札書.xml", "a\x1b[2Jb\u202ec"}, DocumentCount: 40,
		Tries: token.KnownTries(3), TriesConfirmed: true, Virtual: true, Timeout: 90 * time.Second,
		Format: token.PINFormat{MinLength: 6, MaxLength: 8},
	}
	ask := h.ask(t.Context(), r)
	p := agent.prompted()
	got := fmt.Sprint(p.GetSecret(), p.GetCardId(), p.GetCompany(), p.GetProgram(), p.GetPid(), p.GetPurpose(),
		p.GetKeyLabel(), p.GetDocumentNames(), p.GetDocumentCount(), p.TriesLeft != nil, p.GetTriesLeft(),
		p.GetTriesKnown(), p.GetTimeout().AsDuration(), p.GetMinLength(), p.GetMaxLength(), p.GetVirtual())
	want := fmt.Sprint("SECRET_KIND_UNLOCK_CODE", "piv-0011", "株式会社サンプル", "/usr/bin/denshi-nyusatsu", 4242, "sign",
		"署名用", []string{"入札書.xml", "a\ufffd[2Jb\ufffdc"}, 40, true, 3,
		true, 90*time.Second, 6, 8, true)
	if strings.ReplaceAll(got, " ", "") != strings.ReplaceAll(want, " ", "") {
		t.Errorf("prompt shows\n%s, want\n%s", got, want)
	}
	agent.send(cancelled(p.GetPromptId()))
	ask.fails(token.KindPromptCancelled)

	r.Tries, r.Ask = token.Tries{}, AskPIN
	ask = h.ask(t.Context(), r)
	if p = agent.prompted(); p.TriesLeft != nil {
		t.Errorf("unknown tries are shown as %d", p.GetTriesLeft())
	}
	agent.send(cancelled(p.GetPromptId()))
	ask.fails(token.KindPromptCancelled)
}

func TestNobodyToAskIsOneAndTheSameError(t *testing.T) {
	h := newHarness(t, nil)
	other := h.agent(1001, promptGID, false)
	own := h.agent(1000, promptGID, true)
	dead := h.agent(1000, promptGID, false)
	dead.dead.Store(true)
	texts := map[string]bool{}
	for _, name := range []string{"", "unknown", other.id, own.id + "0", dead.id} {
		r := request()
		r.Agent = name
		e := h.ask(t.Context(), r).failure(token.KindNoPINAgent)
		texts[fmt.Sprintf("%v %v", e, e.Meta)] = true
	}
	if len(texts) != 1 {
		t.Errorf("errors differ: %v", texts)
	}
}

func TestAgentIsTheNamedOneOrTheNewestThatServesAll(t *testing.T) {
	h := newHarness(t, nil)
	first := h.agent(1000, promptGID, false)
	second := h.agent(1000, promptGID, false)
	own := h.agent(1000, promptGID, true)
	h.agent(1001, promptGID, false)
	for _, tt := range []struct {
		name  string
		named string
		want  *testAgent
	}{
		{"nobody is named", "", second},
		{"the older is named", first.id, first},
		{"one that serves only its own calls is named", own.id, own},
	} {
		r := request()
		r.Agent = tt.named
		ask := h.ask(t.Context(), r)
		tt.want.send(cancelled(tt.want.prompted().GetPromptId()))
		if e := ask.failure(token.KindPromptCancelled); e.Meta["detail"] != "" {
			t.Errorf("%s: a person's no has the detail %q", tt.name, e.Meta["detail"])
		}
	}
	h.gone(second)
	ask := h.ask(t.Context(), request())
	first.send(cancelled(first.prompted().GetPromptId()))
	ask.fails(token.KindPromptCancelled)
}

// A PIN that comes too late is closed unseen, and the agent goes on.
func TestLateAnswerIsNotLookedAt(t *testing.T) {
	for name, tt := range map[string]struct {
		ends bool // the call, once the prompt is out
		time time.Duration
		want token.Kind
	}{
		"after the time is over": {false, time.Millisecond, token.KindPromptTimeout},
		"after the call ended":   {true, time.Minute, token.KindCallEnded},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, end := context.WithCancel(t.Context())
			defer end()
			h := newHarness(t, nil)
			agent := h.agent(1000, promptGID, false)
			before := openFiles(t)
			r := request()
			r.Timeout = tt.time
			ask := h.ask(ctx, r)
			p := agent.prompted()
			if tt.ends {
				end()
			}
			ask.fails(tt.want)
			if c := agent.receive().GetCancel(); c.GetPromptId() != p.GetPromptId() {
				t.Errorf("cancel of %q, want %q", c.GetPromptId(), p.GetPromptId())
			}
			late := memfd(t, demoPIN)
			agent.send(answer(p.GetPromptId(), len(demoPIN)), late)
			agent.send(cancelled(p.GetPromptId()))
			_ = unix.Close(late)
			if got := h.pages.reads.Load(); got != 0 {
				t.Errorf("PINs read = %d, want 0", got)
			}

			ask = h.ask(t.Context(), request())
			fd := memfd(t, "654321")
			agent.send(answer(agent.prompted().GetPromptId(), 6), fd)
			ask.gives("654321", SourcePrompt)
			_ = unix.Close(fd)
			if got := h.pages.reads.Load(); got != 1 {
				t.Errorf("PINs read = %d, want 1", got)
			}
			if after := openFiles(t); after != before {
				t.Errorf("descriptors = %d before, %d after", before, after)
			}
		})
	}
}

func TestAgentThatGoesAwayCancelsItsPromptAndNoOtherIsAsked(t *testing.T) {
	h := newHarness(t, nil)
	other := h.agent(1000, promptGID, false)
	agent := h.agent(1000, promptGID, false)
	ask := h.ask(t.Context(), request())
	agent.prompted()
	_ = agent.conn.Close()
	if e := ask.failure(token.KindPINAgentLost); e.Meta["detail"] != "it ended" {
		t.Errorf("detail = %q", e.Meta["detail"])
	}
	ask = h.ask(t.Context(), request())
	if p := other.prompted(); p == nil { // its first packet: it was not asked before
		t.Error("the other agent is not asked")
	}
	_ = other.conn.Close()
	ask.fails(token.KindPINAgentLost)
}

func TestPINOfADeadProcessIsNotLookedAt(t *testing.T) {
	h := newHarness(t, nil)
	agent := h.agent(1000, promptGID, false)
	ask := h.ask(t.Context(), request())
	p := agent.prompted()
	agent.dead.Store(true)
	agent.send(answer(p.GetPromptId(), len(demoPIN)), memfd(t, demoPIN))
	ask.fails(token.KindPINAgentLost)
	agent.dropped()
	if got := h.pages.reads.Load(); got != 0 {
		t.Errorf("PINs read = %d, want 0", got)
	}
}

func TestWithoutALockedPageThereIsNoPIN(t *testing.T) {
	h := newHarness(t, nil)
	h.pages.refuse = errors.New("no page")
	agent := h.agent(1000, promptGID, false)
	ask := h.ask(t.Context(), request())
	agent.send(answer(agent.prompted().GetPromptId(), len(demoPIN)), memfd(t, demoPIN))
	if e := ask.failure(token.KindPINMemoryUnavailable); !errors.Is(e, h.pages.refuse) {
		t.Errorf("error = %v, want the cause in it", e)
	}
}

func TestSecretsThatNobodyTypesAreNotAskedFor(t *testing.T) {
	h := newHarness(t, nil)
	h.agent(1000, promptGID, false)
	r := request()
	r.Ask = 9
	h.ask(t.Context(), r).fails(token.KindInternal)
}

func TestCallThatIsOverAsksNobody(t *testing.T) {
	h := newHarness(t, nil)
	h.agent(1000, promptGID, false)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the client hung up")
	cancel(why)
	if e := h.ask(ctx, request()).failure(token.KindCallEnded); !errors.Is(e, why) {
		t.Errorf("error = %v, want the cause in it", e)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.MaxAgents, c.MaxAgentsPerUID = 3, 2 })
	first := h.agent(1000, 0, false)
	h.agent(1000, 0, false)
	h.connect(1000, 0).refused() // a third of this user
	h.agent(1001, 0, false)
	h.connect(1002, 0).refused() // a fourth of all
	before := openFiles(t)
	h.gone(first)
	for h.server.entered() > 2 { // its goroutine is on its way out
		runtime.Gosched()
	}
	h.agent(1000, 0, false)
	if after := openFiles(t); after > before {
		t.Errorf("descriptors = %d before, %d after", before, after)
	}
}

// entered counts the connections.
func (s *Server) entered() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := 0
	for _, n := range s.open {
		all += n
	}
	return all
}

func TestConnectionThatCannotBeIdentifiedIsRefused(t *testing.T) {
	h := newHarness(t, func(c *Config) {
		c.Identify = func(*net.UnixConn) (Peer, error) { return Peer{}, errors.New("dead") }
	})
	h.connect(1000, 0).refused()
}

func TestEndOfServeDropsAgentsAndEndsPrompts(t *testing.T) {
	before := openFiles(t)
	h := newHarness(t, nil)
	agent, silent := h.agent(1000, promptGID, false), h.connect(1001, 0)
	ask := h.ask(t.Context(), request())
	agent.prompted()
	h.end()
	ask.fails(token.KindPINAgentLost)
	h.ask(t.Context(), request()).fails(token.KindNoPINAgent)
	agent.dropped()
	silent.dropped()
	if conn, err := net.Dial("unixpacket", h.path); err == nil {
		_ = conn.Close()
		t.Error("the socket still takes connections")
	}
	_, _ = agent.conn.Close(), silent.conn.Close()
	if after := openFiles(t); after != before {
		t.Errorf("descriptors = %d before, %d after", before, after)
	}
}

// brokenListener fails for good, or for as long as there are errors.
type brokenListener struct {
	*net.UnixListener
	errs   chan error
	closed chan struct{}
}

func (l brokenListener) AcceptUnix() (*net.UnixConn, error) {
	select {
	case err := <-l.errs:
		return nil, err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l brokenListener) Close() error { close(l.closed); return l.UnixListener.Close() }

func TestAcceptingGoesOnAfterPassingErrorsAndEndsWithOthers(t *testing.T) {
	ln, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: t.TempDir() + "/s", Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	l := brokenListener{ln, make(chan error, 3), make(chan struct{})}
	l.errs <- &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", unix.EMFILE)}
	l.errs <- &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", unix.ECONNABORTED)}
	l.errs <- &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", unix.EINVAL)}
	err = New(Config{}).Serve(t.Context(), l)
	if !errors.Is(err, unix.EINVAL) {
		t.Errorf("Serve() = %v, want EINVAL", err)
	}
	if len(l.errs) != 0 {
		t.Errorf("%d errors were not taken", len(l.errs))
	}
}

func TestWhereOnlyPeopleMayAnswerNoProgramIsAsked(t *testing.T) {
	h := newHarness(t, nil)
	r := request()
	r.People = true
	h.ask(t.Context(), r).fails(token.KindNoPINAgent)
	program := h.agent(1000, 0, false)
	h.ask(t.Context(), r).fails(token.KindPINSourceRefused)
	person := h.agent(1000, promptGID, false)
	h.agent(1000, 0, false) // a newer one, which would be asked first
	ask := h.ask(t.Context(), r)
	person.send(cancelled(person.prompted().GetPromptId()))
	ask.fails(token.KindPromptCancelled)
	r.Agent = program.id
	h.ask(t.Context(), r).fails(token.KindPINSourceRefused)
}
