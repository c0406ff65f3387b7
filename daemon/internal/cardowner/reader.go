package cardowner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/failpoint"
	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/token"
)

// reader is one reader; its fields belong to the goroutine of run, but for
// the channels.
type reader struct {
	owner *Owner
	name  string
	stop  context.CancelFunc
	state chan pcsc.ReaderState // the newest state not yet seen, at most one
	jobs  chan job
	sleep chan chan struct{} // closed once the card was let go; at most one
	done  chan struct{}      // closed when run has returned
	told  pcsc.ReaderState   // the newest state handed over; guarded by the owner's mu

	now     pcsc.ReaderState
	met     bool          // now's card was probed
	since   time.Duration // uptime when watching this reader began, or began anew
	person  bool          // a person put now's card in
	looks   int           // how often it failed
	trouble *token.Error  // of the newest use of the card
	card    *Card
	problem *token.Error // why there is no card although one is present
	app     Application
	using   token.CardID // the card that a use case is talking to, or ""
	conn    pcsc.Card    // held connection, or nil
	clean   bool         // conn was reset by us and nothing was sent since
	retry   *time.Timer  // looks again at a card that somebody else had
	idle    *time.Timer  // lets conn go
	logger  *slog.Logger
}

// job is one use of the card.
type job struct {
	ctx    context.Context //nolint:containedctx // travels with the job to the goroutine that does it
	id     token.CardID
	f      func(context.Context, Lease) error
	result chan error
}

func newReader(o *Owner, name string) *reader {
	r := &reader{
		owner: o, name: name,
		state: make(chan pcsc.ReaderState, 1), jobs: make(chan job), sleep: make(chan chan struct{}, 1), done: make(chan struct{}),
		idle: time.NewTimer(0), retry: time.NewTimer(0),
		logger: o.cfg.Logger.With("reader", name),
	}
	r.idle.Stop()
	r.retry.Stop()
	return r
}

// tell hands over a state without ever waiting: only the newest counts. Only
// the watching goroutine calls it.
func (r *reader) tell(s pcsc.ReaderState) {
	select {
	case <-r.state:
	default:
	}
	r.state <- s
	r.told = s
}

// use hands a job to the reader's goroutine and waits for its end.
func (r *reader) use(ctx context.Context, id token.CardID, f func(context.Context, Lease) error) error {
	j := job{ctx, id, f, make(chan error, 1)}
	select {
	case r.jobs <- j:
		return <-j.result
	case <-ctx.Done():
		return token.NewError(token.KindCallEnded).Because(ctx.Err())
	case <-r.done:
		return token.NewError(token.KindCardRemoved)
	}
}

// run serves the reader until ctx ends.
func (r *reader) run(ctx context.Context) {
	defer close(r.done)
	defer r.release()
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-r.state:
			r.update(s)
		case let := <-r.sleep:
			r.doze(ctx, let)
		case j := <-r.jobs:
			r.catchUp()
			j.result <- r.serve(j)
		case <-r.retry.C:
			switch {
			case !r.now.Present:
			case r.card == nil:
				r.meet()
			default:
				r.recheck()
			}
		case <-r.idle.C:
			r.refresh()
		}
	}
}

// catchUp takes in a state that came before the job.
func (r *reader) catchUp() {
	select {
	case s := <-r.state:
		r.update(s)
	default:
	}
}

// update takes in what the reader holds now.
func (r *reader) update(s pcsc.ReaderState) {
	same := r.met && s.Present == r.now.Present && s.Insertion == r.now.Insertion
	if !r.met || s.Epoch != r.now.Epoch {
		r.since = r.owner.cfg.Uptime()
	}
	if !same {
		r.person = s.Present && !r.now.Present && r.owner.cfg.Uptime()-r.since > emptyTime
	}
	r.now = s
	if same {
		r.publish(r.problem, false)
		return
	}
	r.retry.Stop()
	r.release()
	r.owner.disclaim(r)
	r.card, r.problem, r.trouble, r.met, r.looks = nil, nil, nil, true, 0
	r.publish(nil, s.Present)
	if s.Present {
		r.meet()
	}
}

// publish makes known what is known; busy means that more is coming.
func (r *reader) publish(problem *token.Error, busy bool) {
	r.owner.publish(r, Reader{
		Name: r.name, Present: r.now.Present, Virtual: r.now.Virtual, Card: r.card, Problem: problem, Busy: busy, Trouble: r.trouble,
	})
}

// serve does one job: reset, identify, use, reset.
func (r *reader) serve(j job) error {
	if err := j.ctx.Err(); err != nil {
		return token.NewError(token.KindCallEnded).Because(err)
	}
	if r.card == nil || r.card.Identity.Card != j.id {
		return token.NewError(token.KindCardNotFound, "card", string(j.id))
	}
	// From here on the caller's patience no longer counts: a transaction is
	// finished, within the time that each command has.
	ctx := context.WithoutCancel(j.ctx)
	failpoint.Hit(failpoint.Queued)
	lease, err := r.lease(ctx)
	if err == nil {
		err = r.owner.alone(j.id)
	}
	if err == nil {
		r.using = j.id
		err = j.f(ctx, lease)
		r.using = ""
	}
	if token.KindOf(err) == token.KindCardChanged {
		defer r.changed()
	}
	switch token.KindOf(err) {
	case token.KindCardSilent, token.KindPINNoVerdict, token.KindChangeUnknown, token.KindUnlockUnknown:
		r.release() // it would not answer to a reset either
	default:
	}
	if settled := r.settle(); settled != nil {
		r.logger.Info("Card could not be reset and was let go", "error", settled)
	}
	if err != nil {
		fault := r.owner.fault(err)
		r.doubt(err)
		r.troubled(fault)
		return fault
	}
	r.troubled(nil)
	return nil
}

// lease makes the card ready for a use.
func (r *reader) lease(ctx context.Context) (Lease, error) {
	if err := r.connect(ctx); err != nil {
		return Lease{}, err
	}
	if !r.clean {
		if err := r.reset(ctx); err != nil {
			return Lease{}, fmt.Errorf("resetting the card: %w", err)
		}
	}
	r.clean = false
	tok := r.open(r.app, r.card.Profile)
	id, err := tok.Identify(ctx)
	if errors.Is(err, token.ErrNotMine) || err == nil && (id.Card != r.card.Identity.Card || id.Token != r.card.Identity.Token) {
		return Lease{}, token.NewError(token.KindCardChanged)
	}
	if err != nil {
		return Lease{}, fmt.Errorf("identifying the card: %w", err)
	}
	failpoint.Hit(failpoint.Selected)
	tries, verified, err := tok.Tries(ctx, token.SecretPIN)
	if err != nil {
		return Lease{}, fmt.Errorf("reading the tries left: %w", err)
	}
	if verified {
		return Lease{}, token.NewError(token.KindCardKeepsLogin)
	}
	r.learn(tries)
	failpoint.Hit(failpoint.TriesRead)
	return Lease{tok, tries, r.learn}, nil
}

// learn takes in what the card says of its PIN tries. Cards that were
// published are not changed but replaced.
func (r *reader) learn(tries token.Tries) {
	if r.card.OnCard == tries {
		return
	}
	card := *r.card
	card.OnCard = tries
	r.card = &card
	r.publish(nil, false)
}

// refresh lets the card go, and before that asks it for its tries once more: after a
// right PIN its count is back at a maximum that nobody told us.
func (r *reader) refresh() {
	defer r.release()
	if r.conn == nil || r.card == nil || !r.card.Profile.EmptyVerifySafe {
		return
	}
	if _, known := r.card.OnCard.Count(); known {
		return
	}
	_, err := r.lease(context.Background())
	switch {
	case token.KindOf(err) == token.KindCardChanged:
		r.changed()
	case err != nil:
		r.logger.Info("Asking the card for its tries", "error", err)
		r.doubt(err)
	}
}

// connect connects unless the card is held.
func (r *reader) connect(ctx context.Context) error {
	if r.conn != nil {
		return nil
	}
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	failpoint.Hit(failpoint.BeforeConnect)
	conn, err := r.owner.cfg.System.Connect(ctx, r.name)
	if err != nil {
		return fmt.Errorf("connecting to the card: %w", err)
	}
	failpoint.Hit(failpoint.Connected)
	r.conn, r.clean = conn, false
	return nil
}

// settle resets the card after a use and keeps it for a while; a card that
// cannot be reset is let go.
func (r *reader) settle() error {
	if r.conn == nil {
		return nil
	}
	if err := r.reset(context.Background()); err != nil {
		r.release()
		return err
	}
	r.clean = true
	if !r.owner.cfg.Hold {
		r.idle.Reset(r.owner.cfg.Idle)
	}
	return nil
}

// bounded gives a command, a reset or a connect its time: each of them can hang.
func (r *reader) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, r.owner.cfg.CommandTimeout)
	detach := context.AfterFunc(r.owner.patience, cancel)
	return ctx, func() { detach(); cancel() }
}

// reset resets the card within its time.
func (r *reader) reset(ctx context.Context) error {
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	return r.conn.Reset(ctx)
}

// release lets the card go, reset.
func (r *reader) release() {
	r.idle.Stop()
	if r.conn == nil {
		return
	}
	if err := r.conn.Disconnect(pcsc.Reset); err != nil {
		r.logger.Info("Letting the card go", "error", err)
	}
	r.conn = nil
}

// may returns why no command of a use case may reach the card any more, or nil.
func (r *reader) may() error {
	if r.using == "" {
		return nil
	}
	return r.owner.alone(r.using)
}

// Connection is a card to which each command has its own time; the caller's
// patience ended when the transaction began, and only the end of the service
// counts.
type Connection struct {
	pcsc.Card
	within func(context.Context) (context.Context, context.CancelFunc)
	may    func() error
}

// Transmit implements pcsc.Card.
func (b Connection) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if err := b.may(); err != nil {
		return nil, err
	}
	ctx, cancel := b.within(ctx)
	defer cancel()
	answer, err := b.Card.Transmit(ctx, command)
	if failpoint.Enabled {
		sent(command)
	}
	return answer, err
}

// Within bounds what is done with the card otherwise than by a command, and
// says why nothing may be done any more.
func (b Connection) Within(ctx context.Context) (context.Context, context.CancelFunc, error) {
	bounded, cancel := b.within(ctx)
	return bounded, cancel, b.may()
}

// sent marks the moment at which the card has a command that matters: it has a
// secret in it, or it signs (ISO/IEC 7816-4 section 11.5, SP 800-73-5 part 2
// section 3.2).
func sent(command []byte) {
	if len(command) <= 5 {
		return
	}
	switch command[1] {
	case 0x20, 0x24, 0x2C: // VERIFY, CHANGE REFERENCE DATA, RESET RETRY COUNTER
		failpoint.Hit(failpoint.SecretSent)
	case 0x87: // GENERAL AUTHENTICATE
		failpoint.Hit(failpoint.SignSent)
	}
}
