package daemon

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/failpoint"
	"github.com/inkan-project/inkan/daemon/internal/journald"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/daemon/internal/sdunit"
	"github.com/inkan-project/inkan/daemon/internal/store"
	"github.com/inkan-project/inkan/proto/catalogue"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/p11/module"
)

// Exit codes of inkand (sysexits.h where it has one).
const (
	exitOK       = 0
	exitUsage    = 64 // wrong command line
	exitDamaged  = 65 // journal or log do not hold together, or a newer inkand made them
	exitInternal = 70 // anything else
	exitNoState  = 73 // the state directory or a socket cannot be used
	exitInUse    = 75 // another inkand runs
	exitConfig   = 78 // configuration or environment
)

const usage = `inkand owns the card readers of this PC and signs for programs.

  inkand serve [--config FILE] [--config-dir DIR ...] [--state DIR]
               [--socket PATH] [--pin-socket PATH] [--virtual] [--ready-fd N]
               [--verbose]
      runs the service with the readers of pcscd. --virtual offers a virtual
      card instead (PIN 123456, unlock code 12345678) and gives every role to
      the user who starts it. --ready-fd gets a line "READY=1" once calls are
      answered. PCSCLITE_CSOCK_NAME names another socket of pcscd. Files *.toml
      in the folders of --config-dir are read after FILE, in the order of
      their names; what is set later wins.
  inkand --check-config --config FILE [--config-dir DIR ...]
      checks the configuration.
  inkand journal renew --state DIR
      puts a new PIN-try journal in the place of one that is damaged or
      missing; every card then starts with three tries at most.
  inkand card-report [--config FILE] [--module PATH]... [--reader NAME]
                     [--serials] [--certificates]
      writes down what readers, cards and PKCS#11 modules show without any
      PIN: see docs/real-cards.md. No inkand may run meanwhile.
  inkand version

As a unit of systemd inkand takes the sockets named "inkan" and "inkan-pin", and
leaves them to the inkand that comes next: while it is started anew, calls wait.
It feeds the watchdog only when a call for the status, over its own socket, was
answered in a third of WatchdogSec. Readers that hang and persons who take time
do not count; a disk that does not answer for WatchdogSec does.

Exit codes: 0 stopped in order, 64 command line, 65 journal or log damaged,
70 other, 73 state directory or socket not usable, 75 another inkand runs,
78 configuration.
`

// Main is the whole program; it returns the exit code.
func Main(ctx context.Context, version string, args []string, stdout, stderr io.Writer) int {
	if len(args) == 1 && args[0] == module.Verb { // started by ourselves
		module.Main()
	}
	err := command(ctx, version, args, stdout, stderr)
	if err == nil {
		return exitOK
	}
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	if errors.Is(err, errUsage) {
		return exitUsage
	}
	report(stderr, err)
	return exitCode(err)
}

// errUsage means that the command line is wrong and was explained.
var errUsage = errors.New("wrong command line")

// command finds out what is to be done and does it.
func command(ctx context.Context, version string, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		_, _ = io.WriteString(stderr, usage)
		return errUsage
	}
	switch args[0] {
	case "serve":
		return serveCommand(ctx, version, args[1:], stderr)
	case "failpoints":
		return failpointsCommand(stdout)
	case "card-report":
		return cardReportCommand(ctx, version, args[1:], stdout, stderr)
	case "journal":
		return journalCommand(args[1:], stdout, stderr)
	case "version", "--version":
		_, err := fmt.Fprintln(stdout, "inkand", version)
		return err
	case "help", "--help", "-h":
		_, err := io.WriteString(stdout, usage)
		return err
	}
	if strings.HasPrefix(args[0], "-") {
		return checkCommand(args, stdout, stderr)
	}
	_, _ = fmt.Fprintf(stderr, "inkand: there is no command %q\n\n%s", args[0], usage)
	return errUsage
}

// flags returns an empty set of flags that explains itself with our usage.
func flags(stderr io.Writer) *flag.FlagSet {
	set := flag.NewFlagSet("inkand", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.Usage = func() { _, _ = io.WriteString(stderr, usage) }
	return set
}

// parse reads flags and refuses anything behind them.
func parse(set *flag.FlagSet, args []string) error {
	if err := set.Parse(args); errors.Is(err, flag.ErrHelp) {
		return err
	} else if err != nil {
		return errUsage // the flag package has explained it
	}
	if set.NArg() > 0 {
		_, _ = fmt.Fprintf(set.Output(), "inkand: what is %q?\n\n%s", set.Arg(0), usage)
		return errUsage
	}
	return nil
}

func serveCommand(ctx context.Context, version string, args []string, stderr io.Writer) error {
	set := flags(stderr)
	files := configFlags(set)
	state := set.String("state", "", "state directory")
	socket := set.String("socket", "", "gRPC socket")
	pinSocket := set.String("pin-socket", "", "PIN socket")
	virtualCard := set.Bool("virtual", false, "offer a virtual card")
	readyFD := set.Int("ready-fd", 0, "descriptor to tell when ready")
	verbose := set.Bool("verbose", false, "log every call")
	if err := parse(set, args); err != nil {
		return err
	}
	cfg, err := files.load()
	if err != nil {
		return err
	}
	for value, field := range map[*string]*string{state: &cfg.StateDir, socket: &cfg.Socket, pinSocket: &cfg.PINSocket} {
		if *value == "" {
			continue
		}
		path, err := filepath.Abs(*value)
		if err != nil {
			return invalid("%v", err)
		}
		*field = path
	}
	if err := harden(); err != nil {
		return fmt.Errorf("hardening the process: %w", err)
	}
	level := slog.LevelInfo
	if *verbose {
		level = slog.LevelDebug
	}
	o := Options{
		Config: cfg, Virtual: *virtualCard, Version: version,
		Logger: newLogger(stderr, level),
		Ready:  func() { announce(*readyFD) },
	}
	if o.Unit, err = sdunit.Take(); err != nil {
		return err
	}
	if *virtualCard {
		_, _ = fmt.Fprintln(stderr, "inkand:", VirtualHint)
	}
	return Run(ctx, o)
}

// newLogger writes to the journal where stderr is the journal, else to stderr.
func newLogger(stderr io.Writer, level slog.Level) *slog.Logger {
	var h slog.Handler = slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level})
	if journald.Connected() {
		h = journald.New(level, h)
	}
	return slog.New(h)
}

// announce tells whoever started us that calls are answered.
func announce(fd int) {
	if fd <= 0 {
		return
	}
	f := os.NewFile(uintptr(fd), "ready")
	_, _ = f.WriteString("READY=1\n") // who does not listen any more need not be told
	_ = f.Close()
}

// failpointsCommand lists the moments at which this build can be killed.
func failpointsCommand(stdout io.Writer) error {
	if !failpoint.Enabled {
		_, err := fmt.Fprintln(stdout, "This build has no failpoints.")
		return err
	}
	for _, p := range failpoint.All() {
		if _, err := fmt.Fprintln(stdout, p); err != nil {
			return err
		}
	}
	return nil
}

func checkCommand(args []string, stdout, stderr io.Writer) error {
	set := flags(stderr)
	check := set.Bool("check-config", false, "check a configuration file")
	files := configFlags(set)
	if err := parse(set, args); err != nil {
		return err
	}
	if !*check || files.file == "" {
		set.Usage()
		return errUsage
	}
	if _, err := files.load(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(stdout, "%s: OK\n", files.file)
	return err
}

func journalCommand(args []string, stdout, stderr io.Writer) error {
	set := flags(stderr)
	dir := set.String("state", "", "state directory")
	if len(args) == 0 || args[0] != "renew" {
		set.Usage()
		return errUsage
	}
	if err := parse(set, args[1:]); err != nil {
		return err
	}
	if *dir == "" {
		set.Usage()
		return errUsage
	}
	kept, err := renew(*dir)
	if err != nil {
		return err
	}
	if kept != "" {
		_, _ = fmt.Fprintf(stdout, "The old journal is kept as %s.\n", filepath.Join(*dir, kept))
	}
	_, err = fmt.Fprintln(stdout, "The journal is new. Every card starts with three tries at most, until a right PIN proves more.")
	return err
}

// renew puts a new journal in the place of a damaged or missing one.
func renew(dir string) (kept string, err error) {
	state, err := lockState(dir)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, state.Close()) }()
	ctx := context.Background()
	db, err := store.Open(ctx, store.Config{Dir: dir})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	log, err := audit.Open(ctx, audit.Config{Storage: db.Audit(), Now: time.Now})
	if err != nil {
		return "", err
	}
	if log.Count() == 0 {
		return "", token.NewError(token.KindStateNotWritable, "path", dir, "detail", "it has no log: is it the right directory?")
	}
	kept, err = pinguard.Renew(pinguard.DirFS(dir), time.Now(), log.Count(), log.Newest())
	if err != nil {
		return "", token.NewError(token.KindStateNotWritable, "path", dir, "detail", err.Error())
	}
	return kept, nil
}

// report tells a person what went wrong, in English and Japanese.
func report(stderr io.Writer, err error) {
	e, ok := errors.AsType[*token.Error](err)
	if !ok {
		e = token.NewError(token.KindInternal).Because(err)
	}
	say(stderr, e)
	if cause := e.Unwrap(); cause != nil {
		_, _ = fmt.Fprintf(stderr, "  (%v)\n", cause)
	}
}

// say prints the catalogue's words for an error.
func say(stderr io.Writer, e *token.Error) {
	reason := catalogue.Find(string(e.Kind))
	if reason == inkanpb.Reason_REASON_UNSPECIFIED {
		reason = inkanpb.Reason_REASON_INTERNAL
	}
	for _, lang := range []string{"en", "ja"} {
		t := catalogue.In(lang, reason, e.Meta)
		_, _ = fmt.Fprintf(stderr, "inkand: %s %s\n  -> %s\n", catalogue.Code(reason), t.Message, t.Next)
	}
}

// exitCode is the table behind the usage text.
func exitCode(err error) int {
	if token.KindOf(err) == token.KindReaderInUse {
		return exitInUse
	}
	switch token.KindOf(err) {
	case token.KindConfigInvalid, token.KindEnvironmentRefused:
		return exitConfig
	case token.KindStateInUse:
		return exitInUse
	case token.KindStateNotWritable, token.KindSocketInUse, token.KindSocketNotUsable:
		return exitNoState
	case token.KindJournalDamaged, token.KindDatabaseDamaged, token.KindDatabaseNewer:
		return exitDamaged
	default:
		return exitInternal
	}
}
