package prompt

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
	"github.com/inkan-project/inkan/token"
)

// maxStrays is how many packets an agent may send about prompts that are not
// open. A few are in order: an answer and a withdrawal cross on their way.
const maxStrays = 8

// errProtocol means that an agent does not keep to proto/inkan/v1/pin.proto.
var errProtocol = errors.New("the agent broke the protocol")

// agent is one connection to pin.sock.
type agent struct {
	id           string
	peer         Peer
	link         link
	source       Source
	ownCallsOnly bool
	pins         PINReader

	// turn is full while a prompt is open. Whoever fills it may send. Go keeps
	// blocked senders in the order they came: so are calls served.
	turn chan struct{}

	once  sync.Once
	gone  chan struct{} // closed when the agent cannot be used any more
	cause error         // why; set before gone is closed

	mu      sync.Mutex // guards what follows
	current *question  // waits for a reply
	strays  int        // since the last prompt was sent
}

// question is a prompt that was sent.
type question struct {
	id    string
	reply chan reply // has room for the one that comes
}

// reply is what an agent says to a question. Its descriptor belongs to whoever
// holds the reply.
type reply struct {
	fd           int // of the secret; -1: there is none
	length       int // of the secret, in bytes
	yes          bool
	confirmation string // what was typed besides
}

func (r reply) discard() {
	if r.fd >= 0 {
		_ = unix.Close(r.fd)
	}
}

func newAgent(who Peer, l link, pins PINReader, source Source) *agent {
	return &agent{
		id: newID(), peer: who, link: l, pins: pins, source: source,
		turn: make(chan struct{}, 1), gone: make(chan struct{}),
	}
}

// drop ends the agent. The first cause counts.
func (a *agent) drop(cause error) {
	a.once.Do(func() {
		a.cause = cause
		close(a.gone)
		_ = a.link.Close()
	})
}

// usable reports whether the agent was not dropped.
func (a *agent) usable() bool {
	select {
	case <-a.gone:
		return false
	default:
		return true
	}
}

// wentAway is the answer to a call whose agent was dropped.
func (a *agent) wentAway() *token.Error {
	return token.Errorf(token.KindPINAgentLost, "it ended").InJapanese("終了しました").Because(a.cause)
}

// ask puts one question in its turn and takes the answer.
func (a *agent) ask(ctx context.Context, r Request) (Answer, error) {
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return Answer{}, callEnded(ctx)
	case <-a.gone:
		return Answer{}, a.wentAway()
	}
	// The clock starts before the agent's own: a late answer is late for both.
	deadline := time.NewTimer(r.Timeout)
	defer deadline.Stop()
	q := a.openQuestion()
	defer a.closeQuestion(q)
	if err := a.link.Send(promptPacket(q.id, r)); err != nil {
		a.drop(err)
		return Answer{}, a.wentAway()
	}
	select {
	case reply := <-q.reply:
		return a.take(ctx, r.Ask, reply)
	case <-a.gone:
		return Answer{}, a.wentAway()
	case <-ctx.Done():
		a.withdraw(q)
		return Answer{}, callEnded(ctx)
	case <-deadline.C:
		a.withdraw(q)
		return Answer{}, token.NewError(token.KindPromptTimeout)
	}
}

// take gets the PIN out of a reply. The descriptor is closed in any case.
func (a *agent) take(ctx context.Context, asked Asked, r reply) (Answer, error) {
	defer r.discard()
	if ctx.Err() != nil {
		return Answer{}, callEnded(ctx)
	}
	if !r.yes {
		return Answer{}, token.NewError(token.KindPromptCancelled)
	}
	if err := a.peer.Alive(); err != nil {
		a.drop(fmt.Errorf("checking agent: %w", err))
		return Answer{}, a.wentAway()
	}
	answer := Answer{Source: a.source, Agent: a.id, Confirmation: r.confirmation}
	if err := checkReply(asked, r); err != nil {
		a.drop(fmt.Errorf("%w: %w", errProtocol, err))
		return Answer{}, token.Errorf(token.KindPINAgentLost, "its answer was malformed").InJapanese("応答の形式が正しくありません").Because(a.cause)
	}
	if asked == AskNothing {
		return answer, nil
	}
	pin, err := a.pins.ReadFD(r.fd, r.length)
	if err != nil {
		return Answer{}, token.NewError(token.KindPINMemoryUnavailable).Because(fmt.Errorf("taking PIN from agent: %w", err))
	}
	answer.PIN = pin
	return answer, nil
}

// checkReply returns nil if the answer has what was asked for.
func checkReply(asked Asked, r reply) error {
	if asked != AskNothing && r.fd >= 0 {
		return checkPINFile(r.fd, r.length)
	}
	if asked != AskNothing || r.fd >= 0 || r.length != 0 {
		return errors.New("the answer does not hold what was asked for")
	}
	return nil
}

// checkPINFile returns nil only for an ordinary memfd that holds just the PIN.
func checkPINFile(fd, length int) error {
	// Only files in memory have seals (fcntl(2), F_GET_SEALS). Asking for them
	// calls no file system: fstat(2) and pread(2) of a FUSE file could hang.
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0); err != nil {
		return errors.New("the descriptor is not a memfd")
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("looking at the descriptor: %w", err)
	}
	// The message does not say how long the PIN is.
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size > token.PINCapacity || st.Size != int64(length) {
		return errors.New("the memfd does not hold what the answer says")
	}
	return nil
}

// openQuestion makes a question that a reply can come to.
func (a *agent) openQuestion() *question {
	q := &question{id: newID(), reply: make(chan reply, 1)}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.current, a.strays = q, 0
	return q
}

// closeQuestion lets no reply come any more and discards one that nobody took.
func (a *agent) closeQuestion(q *question) {
	a.mu.Lock()
	if a.current == q {
		a.current = nil
	}
	a.mu.Unlock()
	select {
	case r := <-q.reply:
		r.discard()
	default:
	}
}

// withdraw tells the agent that nobody waits for the answer any more.
func (a *agent) withdraw(q *question) {
	cancel := &inkanpb.PinPacket{Packet: &inkanpb.PinPacket_Cancel{
		Cancel: &inkanpb.PinCancel{PromptId: q.id},
	}}
	if err := a.link.Send(cancel); err != nil {
		a.drop(err)
	}
}

// receive takes packets until one is wrong or the link ends.
func (a *agent) receive() error {
	for {
		packet, fds, err := a.link.Receive()
		if err != nil {
			return err
		}
		if err := a.handle(packet, fds); err != nil {
			return err
		}
	}
}

// handle takes one packet and the descriptors that came with it.
func (a *agent) handle(packet *inkanpb.PinPacket, fds []int) error {
	switch p := packet.GetPacket().(type) {
	case *inkanpb.PinPacket_Answer:
		if len(fds) <= 1 {
			r := reply{fd: -1, length: int(p.Answer.GetLength()), yes: true, confirmation: p.Answer.GetConfirmation()}
			if len(fds) == 1 {
				r.fd = fds[0]
			}
			return a.deliver(p.Answer.GetPromptId(), r)
		}
	case *inkanpb.PinPacket_Cancel:
		if len(fds) == 0 {
			return a.deliver(p.Cancel.GetPromptId(), reply{fd: -1})
		}
	}
	closeAll(fds)
	return fmt.Errorf("%w: packet of type %T with %d descriptors", errProtocol, packet.GetPacket(), len(fds))
}

// deliver brings a reply to the question it is for. One that comes too late is
// discarded unseen.
func (a *agent) deliver(id string, r reply) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.current != nil && a.current.id == id {
		a.current.reply <- r // never blocks: a question is current until its first reply
		a.current = nil
		return nil
	}
	r.discard()
	if a.strays++; a.strays > maxStrays {
		return fmt.Errorf("%w: %d packets about prompts that are not open", errProtocol, a.strays)
	}
	return nil
}
