package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/inkan-project/inkan/daemon/internal/cardreport"
	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/p11"
)

// errRuns means that the cards are in use.
func errRuns() *token.Error {
	return token.Errorf(token.KindReaderInUse, "inkand runs and has the cards; stop it first, for example by systemctl stop inkand").
		InJapanese("inkandが使用中です。systemctl stop inkand などで停止してください")
}

// moduleTime is how long one call of a module may take for a report.
const moduleTime = time.Minute

// paths are the values of a flag that may be given several times.
type paths []string

func (p *paths) String() string { return strings.Join(*p, " ") }

func (p *paths) Set(path string) error {
	*p = append(*p, path)
	return nil
}

// cardReportCommand writes a report of what can be seen without a PIN.
func cardReportCommand(ctx context.Context, version string, args []string, stdout, stderr io.Writer) (err error) {
	set := flags(stderr)
	file := set.String("config", "", "configuration file")
	socket := set.String("socket", "", "gRPC socket")
	report := cardreport.Config{Out: stdout, Version: version, System: computer()}
	var libraries paths
	set.Var(&libraries, "module", "PKCS#11 module")
	set.StringVar(&report.Reader, "reader", "", "part of a reader's name")
	set.BoolVar(&report.Serials, "serials", false, "show serial numbers")
	set.BoolVar(&report.Certificates, "certificates", false, "show certificates")
	if err := parse(set, args); err != nil {
		return err
	}
	var cfg Config
	if *file != "" {
		if cfg, err = Load(*file); err != nil {
			return err
		}
	}
	if *socket != "" {
		cfg.Socket = *socket
	}
	cfg = cfg.withDefaults()
	if err := errors.Join(checkEnvironment(os.Environ()), isFree(cfg.Socket)); err != nil {
		return err
	}
	if report.Modules, err = cfg.modules(); err != nil {
		return err
	}
	for _, path := range libraries {
		if path, err = library(path); err != nil {
			return invalid("--module: %v", err)
		}
		report.Modules = append(report.Modules, &p11.Module{Name: path, Path: path, Timeout: moduleTime})
	}
	readers := pcsc.NewService(pcsc.Config{})
	defer func() { err = errors.Join(err, readers.Close()) }()
	report.Readers = readers
	report.Health = func() error {
		_, err := readers.Health()
		return err
	}
	return cardreport.Write(ctx, report)
}

// isFree returns errRuns unless it is sure that no inkand answers at the socket.
func isFree(socket string) error {
	conn, err := net.DialTimeout("unix", socket, time.Second)
	switch {
	case err == nil:
		return errors.Join(errRuns(), conn.Close())
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		return nil
	}
	return errRuns().Because(err)
}

// computer is this computer in one line, without its name.
func computer() string {
	var u unix.Utsname
	kernel := "kernel not known"
	if unix.Uname(&u) == nil {
		kernel = unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
	}
	return fmt.Sprintf("%s, %s, %s", distribution(), kernel, runtime.GOARCH)
}

// distribution is what os-release(5) calls this system.
func distribution() string {
	text, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "distribution not known"
	}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			return strings.Trim(strings.TrimSpace(name), `"'`)
		}
	}
	return "distribution not known"
}
