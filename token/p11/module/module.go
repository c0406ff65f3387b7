// Package module is the process in which a vendor's PKCS#11 module runs, away
// from inkand: it does what it is asked over one socket and ends with it.
//
// It guarantees that a secret goes from the descriptor that brings it into one
// locked page, from there to the module once, and that the page is wiped; that
// C_Login is called only when asked for and never again by itself; and that the
// process can reach no network and, started from a thread in [Confine], write to
// no file but where it was allowed. What the module itself copies or does with
// its own memory is beyond it: whoever starts the process must be ready for its
// crash, its silence and any answer.
package module

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/miekg/pkcs11"
	"golang.org/x/sys/unix"

	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/p11/frame"
	"github.com/inkan-project/inkan/token/pinpage"
)

// Verb is the word on inkand's command line that makes it such a process.
const Verb = "pkcs11-module"

// Socket is the descriptor of the connection to inkand.
const Socket = 3

// Main serves inkand until the connection ends, and then the process ends:
// without what the module left to be done at that moment, which may hang.
func Main() { syscall.Exit(serve()) }

// serve does what it is asked and returns the exit code.
func serve() int {
	// Modules may take the first thread for theirs: all calls come from this one.
	runtime.LockOSThread()
	debug.SetTraceback("single")
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return 1
	}
	go endWithInkand()
	p := &process{buffer: make([]byte, frame.Max+1)}
	for {
		var req frame.Request
		descriptors, err := frame.Receive(Socket, &req, p.buffer)
		if errors.Is(err, io.EOF) {
			return 0
		}
		if err != nil {
			return 1
		}
		answer := p.answer(req, descriptors)
		frame.Close(descriptors)
		if err := send(answer); err != nil {
			return 1
		}
		if req.Op == frame.OpEnd {
			return 0
		}
	}
}

// send sends an answer; of one that is too long only that it was.
func send(a frame.Answer) error {
	err := frame.Send(Socket, a)
	if errors.Is(err, frame.ErrGarbage) {
		err = frame.Send(Socket, failed("", errTooLong))
	}
	return err
}

// endWithInkand ends the process when inkand has ended, also while the module
// does not return from a call.
func endWithInkand() {
	for {
		fds := []unix.PollFd{{Fd: Socket, Events: unix.POLLRDHUP}}
		if _, err := unix.Poll(fds, -1); err == nil && fds[0].Revents != 0 {
			syscall.Exit(0)
		}
	}
}

// process is the module in this process.
type process struct {
	buffer    []byte
	ctx       *pkcs11.Ctx
	functions functions
	pins      *pinpage.Source
	session   pkcs11.SessionHandle
	isOpen    bool // session is one
	openSC    openSC
	slot      uint
	first     frame.TokenInfo // the token with which the session was opened
	loggedIn  bool
}

// errTooLong is about an answer that could not be sent.
var errTooLong = errors.New("the module says more than fits into an answer")

// errOrder is a bug in inkand.
var errOrder = errors.New("this cannot be asked for now")

// answer does one operation.
func (p *process) answer(req frame.Request, descriptors []int) frame.Answer {
	if p.ctx == nil && req.Op != frame.OpLoad && req.Op != frame.OpEnd {
		return failed("", errOrder)
	}
	secrets, err := p.secrets(req.Secrets, descriptors)
	defer func() {
		for _, s := range secrets {
			s.Wipe()
		}
	}()
	if err != nil {
		return failed("", err)
	}
	switch req.Op {
	case frame.OpLoad:
		return p.load(req.Load)
	case frame.OpSlots:
		return p.slots()
	case frame.OpOpen:
		return p.open(req.Slot)
	case frame.OpObjects:
		return p.objects()
	case frame.OpLogin:
		return p.login(pkcs11.CKU_USER, secrets)
	case frame.OpLoginAgain:
		return p.login(pkcs11.CKU_CONTEXT_SPECIFIC, secrets)
	case frame.OpBegin:
		return p.begin(req.Begin)
	case frame.OpSign:
		return p.sign(req.Data)
	case frame.OpSetPIN:
		return p.setPIN(secrets)
	case frame.OpUnlock:
		return p.unlock(secrets)
	case frame.OpClose:
		return p.close()
	case frame.OpEnd:
		return p.end()
	}
	return failed("", fmt.Errorf("%w: %q", errOrder, req.Op))
}

// secrets reads what came along into pages of their own.
func (p *process) secrets(lengths, descriptors []int) (all []*token.PIN, err error) {
	if len(lengths) != len(descriptors) {
		return nil, fmt.Errorf("%w: %d secrets announced, %d came", errOrder, len(lengths), len(descriptors))
	}
	for i, length := range lengths {
		pin, err := p.pins.ReadFD(descriptors[i], length)
		if err != nil {
			return all, err
		}
		all = append(all, pin)
	}
	return all, nil
}

// load confines this process and loads the module into it.
func (p *process) load(l *frame.Load) frame.Answer {
	if l == nil || p.ctx != nil {
		return failed("", errOrder)
	}
	var err error
	if p.pins, err = pinpage.Open(l.PINMemory); err != nil {
		return failed("", err)
	}
	if err := environment(l.Environment); err != nil {
		return failed("", err)
	}
	if p.openSC, err = newOpenSC(); err != nil {
		return failed("", err)
	}
	if err := cage(); err != nil {
		return failed("", err)
	}
	if p.functions, err = open(l.Module); err != nil {
		return failed("", err)
	}
	if p.ctx = pkcs11.New(l.Module); p.ctx == nil {
		return failed("", errors.New("the module cannot be loaded a second time"))
	}
	if err := p.ctx.Initialize(); err != nil {
		return failed("C_Initialize", err)
	}
	info, err := p.ctx.GetInfo()
	if err != nil {
		return failed("C_GetInfo", err)
	}
	p.openSC.is = strings.HasPrefix(info.ManufacturerID, "OpenSC")
	return frame.Answer{Info: &frame.Info{
		Manufacturer: Clean(info.ManufacturerID), Description: Clean(info.LibraryDescription),
		Version: fmt.Sprintf("%d.%d", info.LibraryVersion.Major, info.LibraryVersion.Minor),
	}}
}

// environment sets what the module reads from it.
func environment(variables []string) error {
	for _, v := range variables {
		name, value, _ := strings.Cut(v, "=")
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return nil
}

// end lets go of the module.
func (p *process) end() frame.Answer {
	if p.ctx == nil {
		return frame.Answer{}
	}
	return failed("C_Finalize", p.ctx.Finalize())
}

// failed says what a call came to; err nil is CKR_OK.
func failed(call string, err error) frame.Answer {
	rv, ok := errors.AsType[pkcs11.Error](err)
	switch {
	case err == nil:
		return frame.Answer{}
	case ok:
		return frame.Answer{RV: uint(rv), Call: call}
	}
	return frame.Answer{Call: call, Error: Clean(err.Error())}
}

// maxText is the longest text of a module that is passed on, in bytes.
const maxText = 512

// Clean makes a text of a module one that can be shown and sent: UTF-8 of a
// bounded length, without control characters or padding.
func Clean(text string) string {
	if len(text) > maxText {
		text = text[:maxText]
	}
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	return strings.TrimSpace(text)
}
