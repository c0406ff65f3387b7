package module

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/miekg/pkcs11"

	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/p11/frame"
)

// openSC is the configuration of OpenSC's module, in a file that nobody else
// has. Other modules do not read it.
type openSC struct {
	file int
	is   bool // the module is OpenSC's
}

// settings keep OpenSC from keeping PINs and files, from writing out what it
// sends to cards, and from sharing the card with other programs, which would
// find the PIN proved (opensc.conf(5)). What C_SetPIN without a login does is the
// one thing that changes.
const settings = `app default {
	debug = 0;
	reader_driver pcsc { connect_exclusive = true; disconnect_action = reset; }
	framework pkcs15 { use_pin_caching = false; use_file_caching = no; }
}
app opensc-pkcs11 {
	pkcs11 { user_pin_unblock_style = %s; lock_login = false; }
}
`

// Styles of unblocking (opensc.conf(5), user_pin_unblock_style).
const (
	noUnblocking     = "none"
	unblockBySetting = "set_pin_in_unlogged_session"
)

// newOpenSC makes the file and points the module to it.
func newOpenSC() (openSC, error) {
	fd, err := unix.MemfdCreate("opensc.conf", 0) // stays open: the path leads to it
	if err != nil {
		return openSC{}, fmt.Errorf("making opensc.conf: %w", err)
	}
	o := openSC{file: fd}
	return o, errors.Join(o.write(noUnblocking), os.Setenv("OPENSC_CONF", fmt.Sprintf("/proc/self/fd/%d", fd)))
}

func (o openSC) write(style string) error {
	text := fmt.Appendf(nil, settings, style)
	if err := unix.Ftruncate(o.file, 0); err != nil {
		return fmt.Errorf("emptying opensc.conf: %w", err)
	}
	if _, err := unix.Pwrite(o.file, text, 0); err != nil {
		return fmt.Errorf("writing opensc.conf: %w", err)
	}
	return nil
}

// unlockOpenSC sets a new PIN by the unlock code in OpenSC's way: C_SetPIN with
// the code for the old PIN, without a login. Its C_Login as CKU_SO would send
// VERIFY with the code, which PIV cards do not know. The module reads the style
// when it is initialised, so that is done anew, and C_SetPIN never means
// another thing than the one that is asked for.
func (p *process) unlockOpenSC(secrets []*token.PIN) frame.Answer {
	if answer := p.restyle(unblockBySetting); !answer.OK() {
		return answer
	}
	answer := p.setPIN(secrets)
	if after := p.restyle(noUnblocking); !after.OK() {
		p.ctx = nil // a PIN that is to be changed must not be taken for an unlock code
	}
	return answer
}

// restyle initialises the module anew with another style, with a session if
// there was one.
func (p *process) restyle(style string) frame.Answer {
	if answer := p.close(); !answer.OK() {
		return answer
	}
	if err := p.ctx.Finalize(); err != nil {
		return failed("C_Finalize", err)
	}
	if err := p.openSC.write(style); err != nil {
		return failed("", err)
	}
	if err := p.ctx.Initialize(); err != nil {
		return failed("C_Initialize", err)
	}
	if _, err := p.ctx.GetSlotList(true); err != nil { // looks for cards
		return failed("C_GetSlotList", err)
	}
	return p.reopen(pkcs11.CKF_SERIAL_SESSION)
}
