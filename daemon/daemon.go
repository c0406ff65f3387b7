// Package daemon puts inkand together: configuration in, a running service
// out.
//
// It guarantees that the state directory is locked before anything is opened
// or bound, that journal, log and register hold together before a card is
// touched, and that a stop lets running work end, resets the cards and closes
// the journal, in that order. A caller runs one Run per process and ends it by
// its context.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/blackbox"
	"github.com/inkan-project/inkan/daemon/internal/broker"
	"github.com/inkan-project/inkan/daemon/internal/cardowner"
	"github.com/inkan-project/inkan/daemon/internal/logind"
	"github.com/inkan-project/inkan/daemon/internal/peer"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/daemon/internal/policy"
	"github.com/inkan-project/inkan/daemon/internal/prompt"
	"github.com/inkan-project/inkan/daemon/internal/register"
	"github.com/inkan-project/inkan/daemon/internal/rpc"
	"github.com/inkan-project/inkan/daemon/internal/sdunit"
	"github.com/inkan-project/inkan/daemon/internal/store"
	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/cardprofile"
	"github.com/inkan-project/inkan/token/pinpage"
)

// stopTime is how long calls under way may take when the service stops.
const stopTime = 10 * time.Second

// giveUpTime is how long before the end of stopTime a card that has not answered
// is given up, so that its caller is told and the verdict recorded.
const giveUpTime = 2 * time.Second

// onTheWay is how long a stop waits for calls that name an agent which has just
// connected: a program sends the one right after the other.
const onTheWay = 300 * time.Millisecond

// retryTime is how long to wait before looking again at a card that another
// program had.
const retryTime = time.Second

// Options is what the command line adds to a Config.
type Options struct {
	Config  Config
	Virtual bool   // offer the embedded virtual card
	Version string // of this inkand
	Logger  *slog.Logger
	Unit    sdunit.Unit      // what systemd handed over
	Ready   func()           // called once calls are answered; nil = nobody waits
	Now     func() time.Time // nil = the clock of this PC
	// Boot is the clock that waits are counted by; nil = that of this PC.
	Boot func() pinguard.Boot
	// System takes the place of the readers; nil = as Virtual says. Tests use it.
	System pcsc.System
	// prompter takes the place of the PIN socket's agents in benchmarks.
	prompter broker.Prompter
	inForce  string // what protects PINs and tells callers on this PC
}

// Run runs the service until ctx ends and returns nil then. Other errors are
// [*token.Error] where a person can do something about them.
func Run(ctx context.Context, o Options) error {
	o.Config = o.Config.withDefaults()
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Boot == nil {
		o.Boot = pinguard.SystemBoot()
	}
	if o.Virtual && o.Config.AllowVirtual != nil && !*o.Config.AllowVirtual {
		return invalid("allow_virtual = false, but --virtual was given")
	}
	if err := errors.Join(o.Config.check(), checkEnvironment(os.Environ())); err != nil {
		return err
	}
	state, err := openState(o.Config.StateDir)
	if err != nil {
		return err
	}
	defer closing(o.Logger, "state directory", state.Close)
	err = runLocked(ctx, o)
	if e, ok := errors.AsType[*token.Error](err); ok && e.Kind == token.KindStateNotWritable {
		return e.With("path", o.Config.StateDir)
	}
	return err
}

// closing closes something at the end, where an error can only be told.
func closing(logger *slog.Logger, what string, closeIt func() error) {
	if err := closeIt(); err != nil {
		logger.Error("Closing failed", "what", what, "error", err)
	}
}

// records is everything on the disk.
type records struct {
	store    *store.Store
	log      *audit.Log
	register *register.Register
	guard    *pinguard.Guard
	found    pinguard.Recovery
}

// openRecords opens and checks all that is on the disk.
func openRecords(ctx context.Context, o Options) (r records, err error) {
	if r.store, err = store.Open(ctx, store.Config{Dir: o.Config.StateDir}); err != nil {
		return r, err
	}
	if r.log, err = audit.Open(ctx, audit.Config{Storage: r.store.Audit(), Now: o.Now}); err != nil {
		return r, errors.Join(err, r.store.Close())
	}
	if r.register, err = register.Open(register.Config{Storage: r.store.Register(), Now: o.Now}); err != nil {
		return r, errors.Join(err, r.store.Close())
	}
	r.guard, r.found, err = pinguard.Open(pinguard.Config{
		FS: pinguard.DirFS(o.Config.StateDir), Now: o.Now, Boot: o.Boot, Records: r.log.Count(), Newest: r.log.Newest(),
	})
	if err != nil {
		return r, errors.Join(err, r.store.Close())
	}
	return r, nil
}

// close closes the journal, then the log: nothing can be spent any more when
// the log is gone.
func (r records) close() error { return errors.Join(r.guard.Close(), r.store.Close()) }

// runLocked does the work of Run, once the state directory is ours.
func runLocked(ctx context.Context, o Options) error {
	// A stop that comes now waits until everything is open: what is half open
	// would only look like damage.
	starting := context.WithoutCancel(ctx)
	box := blackbox.New(o.Now)
	o.Logger = slog.New(slog.NewMultiHandler(o.Logger.Handler(), slog.NewTextHandler(box, nil)))
	o.Unit.Logger = o.Logger
	rec, err := openRecords(starting, o)
	if err != nil {
		return err
	}
	defer closing(o.Logger, "journal and log", rec.close)
	profiles, err := cardprofile.Load(o.Config.Card.Profiles)
	if err != nil {
		return err
	}
	ctx, restart := context.WithCancelCause(ctx)
	defer restart(nil)
	system, closeSystem, err := readers(o, restart)
	if err != nil {
		return err
	}
	defer closing(o.Logger, "readers", closeSystem)
	pages, err := pinpage.Open(o.Config.PIN.Memory)
	if err != nil {
		return token.NewError(token.KindPINMemoryUnavailable).Because(err)
	}
	rules, err := o.policy()
	if err != nil {
		return err
	}
	var cards *cardowner.Owner
	login := o.login(func() *cardowner.Owner { return cards })
	pins, err := o.prompts(pages, rules, login)
	if err != nil {
		return err
	}
	wrong, err := pages.Wrong()
	if err != nil {
		return token.NewError(token.KindPINMemoryUnavailable).Because(fmt.Errorf("for what was wrong: %w", err))
	}
	defer closing(o.Logger, "memory of wrong PINs", wrong.Close)
	system, apps, closeModules, err := o.withModules(system, applications(profiles, box), profiles, rec.register)
	if err != nil {
		return err
	}
	defer closing(o.Logger, "PKCS#11 modules", closeModules)
	var b *broker.Broker
	cards = cardowner.New(cardowner.Config{
		System: system, Applications: apps,
		Idle: time.Duration(o.Config.Card.Idle), Hold: o.Config.Card.Hold == "always", Retry: retryTime, CommandTimeout: time.Duration(o.Config.Card.CommandTimeout),
		Logger: o.Logger, Admit: o.admit, Met: rec.register.Seen, Uptime: func() time.Duration { return o.Boot().Since },
		Inserted: func(ctx context.Context, id token.CardID) error { return b.Inserted(ctx, id) },
	})
	if o.prompter == nil {
		o.prompter = pins
	}
	b = broker.New(broker.Config{
		Cards: cards, Prompter: o.prompter, Register: rec.register, Wrong: wrong, Guard: rec.guard, Log: rec.log,
		Now: o.Now, Logger: o.Logger, PromptTimeout: time.Duration(o.Config.PIN.PromptTimeout),
		ProgramPINs: o.Config.PIN.ProgramSource, Virtual: o.Virtual,
	})
	o.inForce = fmt.Sprintf("PIN memory %s, peer check %s", pages.Kind(), peer.Mode())
	if err := b.Recover(starting, rec.found, "inkand "+o.Version+", "+o.inForce); err != nil {
		return err
	}
	server, err := rpc.New(rpc.Config{
		Broker: b, Log: rec.log, Policy: rules, Logger: o.Logger, Limits: o.Config.Limits.rpc(), Service: o.service(pages.Kind(), rec), Support: o.support(box),
		Exclusivity: o.Config.Card.exclusivity(pcscdPolicy),
	})
	if err != nil {
		return fmt.Errorf("making the gRPC server: %w", err)
	}
	if err := serve(ctx, o, server, pins, cards, login); err != nil {
		return err
	}
	if err := b.Stopped(); err != nil {
		return err
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return token.NewError(token.KindReadersStuck).Because(cause)
	}
	return nil
}

// serve opens the sockets and runs all parts until ctx ends. Calls end first,
// then agents and cards.
func serve(ctx context.Context, o Options, server *rpc.Server, pins *prompt.Server, cards *cardowner.Owner, login *logind.Conn) error {
	calls, agents, err := o.sockets()
	if err != nil {
		return err
	}
	defer closing(o.Logger, "socket", calls.Close)
	defer closing(o.Logger, "PIN socket", agents.Close)

	parts, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, failed := errgroup.WithContext(parts)
	watched, unwatch := context.WithCancel(failed)
	group.Go(func() error { return cards.Run(failed) })
	group.Go(func() error { return login.Run(failed) })
	group.Go(func() error { return pins.Serve(failed, agents) })
	group.Go(func() error { return server.Serve(calls) })
	group.Go(func() error {
		return o.Unit.Watch(watched, func(ctx context.Context) error { return rpc.Probe(ctx, calls.Addr()) })
	})
	group.Go(func() error {
		defer stop()
		select {
		case <-ctx.Done():
		case <-failed.Done():
		}
		unwatch()
		o.Unit.Stopping()
		// Who connects now is served by the inkand that comes next, if there is one.
		if err := agents.SetDeadline(time.Unix(1, 0)); err != nil {
			o.Logger.Warn("Taking no more PIN agents", "error", err)
		}
		if o.Unit.Agents != nil { // another inkand comes, and does not have the agents that are here
			time.Sleep(onTheWay)
		}
		patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
		defer cancel()
		defer time.AfterFunc(stopTime-giveUpTime, cards.GiveUp).Stop()
		server.Stop(patience)
		return nil
	})
	o.Unit.Ready("Answering calls; " + o.inForce)
	o.Logger.Info("Serving", "socket", calls.Addr().String(), "pin_socket", agents.Addr().String(), "state", o.Config.StateDir)
	if o.Ready != nil {
		o.Ready()
	}
	return group.Wait()
}

// policy returns the rules for this machine.
func (o Options) policy() (*policy.Policy, error) {
	signers, err := groupID(o.Config.SignerGroup)
	if err != nil {
		return nil, err
	}
	cfg := policy.Config{SignerGID: signers}
	if o.Virtual {
		cfg.VirtualUID = currentUID()
	}
	return policy.New(cfg), nil
}

// allowVirtual reports whether cards that are only software may be used.
func (o Options) allowVirtual() bool {
	if o.Config.AllowVirtual != nil {
		return *o.Config.AllowVirtual
	}
	return o.Virtual
}

// admit refuses cards that are only software where the configuration does.
func (o Options) admit(id token.Identity) error {
	if id.Virtual && !o.allowVirtual() {
		return token.NewError(token.KindVirtualRefused)
	}
	return nil
}
