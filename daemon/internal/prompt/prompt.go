// Package prompt asks people and programs for PINs over pin.sock.
//
// PIN agents connect and wait; a call that needs a PIN asks one of them, of
// the caller's own user. The package guarantees that a PIN comes in as exactly
// one memfd and from the process that connected, that it is looked at only for
// a prompt that is still open and while that process is alive, that it never
// passes through the heap, and that every descriptor an agent sends is closed,
// whatever it sends. The caller must run [Server.Serve], and must wipe each PIN
// it gets.
package prompt

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/inkan-project/inkan/token"
)

// Limits where the configuration gives none.
const (
	defaultMaxAgents       = 64
	defaultMaxAgentsPerUID = 8
	defaultTimeout         = time.Minute // to answer a prompt
)

// Source is who entered a PIN, as the kernel says of the agent.
type Source uint8

// The sources. The zero value is none.
const (
	SourcePrompt  Source = 1 // the trusted prompt: a person
	SourceProgram Source = 2 // any other program
)

// String returns the word of docs/states.md.
func (s Source) String() string {
	switch s {
	case SourcePrompt:
		return "prompt"
	case SourceProgram:
		return "program"
	}
	return fmt.Sprintf("source %d", uint8(s))
}

// Request is one question. What is shown to the person may hold anything a
// program said: it is made printable and cut to length here.
type Request struct {
	Agent          string // id of the agent the call names, or ""
	UID            uint32 // user of the caller
	Program        string // executable of the caller, or "" if not readable
	PID            int32  // process of the caller
	Ask            Asked
	Card           token.CardID
	Company        string   // on the card's certificate
	KeyLabel       string   // label of the key that signs
	Purpose        string   // "sign", "verify"
	DocumentNames  []string // as given by the program
	DocumentCount  int
	Tries          token.Tries
	TriesConfirmed bool // the card itself said so; else "at most"
	Format         token.PINFormat
	Virtual        bool // the card is virtual
	// Confirmation is what the person must type besides the secret, at most 32
	// characters; "" = nothing. Whoever asked compares the Answer's.
	Confirmation string
	Reason       Reason // why
	// People lets only the trusted prompt answer: nobody else is asked.
	People  bool
	Timeout time.Duration // to answer, from when the person is asked; 0 = one minute
}

// Asked is what a person is asked for: one of a card's secrets, or a new one.
type Asked uint8

// What can be asked for; values are those of proto/inkan/v1/pin.proto.
const (
	AskPIN        Asked = 1
	AskUnlockCode Asked = 2
	AskNewPIN     Asked = 3
	AskNewAgain   Asked = 4 // the new PIN once more
	AskNothing    Asked = 5 // only the confirmation
)

// Reason is why a confirmation is asked for. Values are those of
// proto/inkan/v1/pin.proto.
type Reason uint8

// Reasons.
const (
	ReasonFewTries         Reason = 1
	ReasonReissue          Reason = 2
	ReasonHeld             Reason = 3
	ReasonChangedElsewhere Reason = 4
	ReasonHeldUnlock       Reason = 5
)

// Answer is a PIN and who gave it. Whoever asked wipes the PIN.
type Answer struct {
	PIN          *token.PIN // nil where nothing but a confirmation was asked for
	Source       Source
	Agent        string // id of the agent that answered
	Confirmation string // what the person typed, where that was asked for
}

// PINReader takes a PIN out of a descriptor into locked memory.
type PINReader interface {
	// ReadFD reads length bytes from offset 0 of a memfd of that size. It
	// neither closes nor changes the descriptor.
	ReadFD(fd, length int) (*token.PIN, error)
}

// Peer is the process that connected, as the kernel says.
type Peer struct {
	UID uint32
	GID uint32 // effective group when it connected
	PID int32
	// Trusted makes it source prompt whatever its group: the configuration
	// lists its executable.
	Trusted bool
	Alive   func() error // nil as long as it is that process and that program
	Close   func()       // called once, when the connection has ended
}

// Place is where an agent's user would see a prompt.
type Place uint8

// Places. The zero value is that nobody knows: there is no logind, or it did
// not answer.
const (
	PlaceUnknown   Place = 0
	PlaceSeat      Place = 1 // at a seat, in front of all other sessions
	PlaceElsewhere Place = 2
)

// Config is what a Server needs.
type Config struct {
	PINs PINReader
	// PromptGID is the group of the trusted prompt: agents whose effective
	// group it is are source prompt. nil: there is no such agent.
	PromptGID *uint32
	// Identify says who connected; an error refuses the connection.
	Identify func(*net.UnixConn) (Peer, error)
	// Place says where the user of a process would see a prompt; nil = nobody
	// knows. It ends with ctx.
	Place  func(ctx context.Context, uid uint32, pid int32) Place
	Logger *slog.Logger // nil: no log
	// MaxAgents and MaxAgentsPerUID bound the connections; 0: 64 and 8.
	MaxAgents       int
	MaxAgentsPerUID int
}

// Server holds the agents that are connected. Its methods may be used by many
// goroutines.
type Server struct {
	config Config

	mu     sync.Mutex     // guards what follows
	agents []*agent       // that may be asked, oldest first
	open   map[uint32]int // connections by uid
}

// New returns a Server without agents.
func New(config Config) *Server {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.MaxAgents == 0 {
		config.MaxAgents = defaultMaxAgents
	}
	if config.MaxAgentsPerUID == 0 {
		config.MaxAgentsPerUID = defaultMaxAgentsPerUID
	}
	return &Server{config: config, open: map[uint32]int{}}
}

// Ask asks for a PIN: the agent that the request names, else of the agents of the
// same user that serve all calls the one at the active seat that connected last;
// an agent of which nobody knows where it is comes after these, and one that is
// elsewhere is not asked. An agent is asked one question at a time, in the order
// of the calls. When it fails no other agent is asked.
//
// It returns a [*token.Error]. KindPINSourceRefused: only people may answer,
// and there are but programs. KindNoPINAgent: there is no such agent; whether
// it does not exist or belongs to somebody else is not told.
// KindPromptCancelled: the person said no. KindPINAgentLost: the agent went away
// or broke the protocol. KindPromptTimeout: no answer in time. KindCallEnded: ctx ended.
// KindPINMemoryUnavailable: the PIN came, but could not be taken into locked memory.
func (s *Server) Ask(ctx context.Context, r Request) (Answer, error) {
	if ctx.Err() != nil {
		return Answer{}, callEnded(ctx)
	}
	if r.Ask < AskPIN || r.Ask > AskNothing {
		return Answer{}, token.NewError(token.KindInternal).Because(fmt.Errorf("no prompt asks for %d", r.Ask))
	}
	if r.Timeout <= 0 {
		r.Timeout = defaultTimeout
	}
	all := s.inSight(ctx, r, s.candidates(r))
	people := slices.DeleteFunc(slices.Clone(all), func(a *agent) bool { return r.People && a.source != SourcePrompt })
	if len(people) == 0 && len(all) > 0 {
		return Answer{}, token.Errorf(token.KindPINSourceRefused, "only a person at the trusted prompt may answer").
			InJapanese("信頼された入力画面で人が答える必要があります")
	}
	for _, a := range people {
		if err := a.peer.Alive(); err != nil {
			a.drop(fmt.Errorf("checking agent: %w", err))
			continue
		}
		return a.ask(ctx, r)
	}
	return Answer{}, token.NewError(token.KindNoPINAgent)
}

// candidates returns the agents that may answer, the first choice first.
func (s *Server) candidates(r Request) []*agent {
	s.mu.Lock()
	defer s.mu.Unlock()
	var fit []*agent
	for _, a := range slices.Backward(s.agents) {
		named := r.Agent != "" && r.Agent == a.id
		if a.usable() && a.peer.UID == r.UID && (named || r.Agent == "" && !a.ownCallsOnly) {
			fit = append(fit, a)
		}
	}
	return fit
}

// inSight leaves those agents whose prompt the user would see, the first choice
// first. Whoever names an agent knows where it is.
func (s *Server) inSight(ctx context.Context, r Request, all []*agent) []*agent {
	if r.Agent != "" || s.config.Place == nil {
		return all
	}
	var seat, unknown []*agent
	for _, a := range all {
		switch s.config.Place(ctx, a.peer.UID, a.peer.PID) {
		case PlaceSeat:
			seat = append(seat, a)
		case PlaceUnknown:
			unknown = append(unknown, a)
		case PlaceElsewhere:
		}
	}
	return append(seat, unknown...)
}

func callEnded(ctx context.Context) *token.Error {
	return token.NewError(token.KindCallEnded).Because(context.Cause(ctx))
}
