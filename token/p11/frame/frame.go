// Package frame is what inkand and the process in which a PKCS#11 module runs
// say to each other: one request and one answer at a time, each a JSON text in
// one datagram of a Unix socket pair.
//
// It guarantees that nothing longer than [Max] is taken from the other side
// and that what is not exactly one message is an error. Secrets are never in a
// message: they come along as descriptors of files in memory. A caller must
// not use a connection any more after an error.
package frame

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// Max is the longest message, in bytes. The socket pair must take one whole.
const Max = 160 << 10

// MaxSecrets is how many secrets can come with a request: an old and a new one.
const MaxSecrets = 2

// Op is what is asked for.
type Op string

// Operations, by what they call (PKCS#11 v3.1 section 5).
const (
	OpLoad       Op = "load"        // dlopen, C_Initialize, C_GetInfo
	OpSlots      Op = "slots"       // C_GetSlotList, C_GetSlotInfo, C_GetTokenInfo
	OpOpen       Op = "open"        // C_OpenSession, C_GetSessionInfo, C_GetTokenInfo
	OpObjects    Op = "objects"     // C_FindObjects, C_GetAttributeValue
	OpLogin      Op = "login"       // C_Login as CKU_USER, C_GetTokenInfo
	OpBegin      Op = "begin"       // C_FindObjects, C_SignInit
	OpLoginAgain Op = "login-again" // C_Login as CKU_CONTEXT_SPECIFIC
	OpSign       Op = "sign"        // C_Sign
	OpSetPIN     Op = "set-pin"     // C_SetPIN in a session of its own
	OpUnlock     Op = "unlock"      // C_Login as CKU_SO, C_InitPIN, C_Logout
	OpClose      Op = "close"       // C_Logout, C_CloseAllSessions
	OpEnd        Op = "end"         // C_Finalize; the process ends
)

// Request asks for one operation. Which fields count is said with each.
type Request struct {
	Op      Op
	Load    *Load  `json:",omitempty"` // OpLoad
	Slot    uint   `json:",omitempty"` // OpOpen, OpSetPIN, OpUnlock
	Secrets []int  `json:",omitempty"` // lengths in bytes of those that come along
	Begin   *Begin `json:",omitempty"` // OpBegin
	Data    []byte `json:",omitempty"` // OpSign: what the key operates on
}

// Load says which module to load.
type Load struct {
	Module      string   // path
	Environment []string // NAME=value
	PINMemory   string   // kind of page for secrets (package pinpage)
}

// Begin says which key is to sign, and how.
type Begin struct {
	ID        []byte // CKA_ID, as the objects say
	SPKI      []byte // DER of the public key: what counts
	Mechanism uint   // CKM_…
	PSS       *PSS   `json:",omitempty"`
}

// PSS are CK_RSA_PKCS_PSS_PARAMS (PKCS#11 v3.1 section 6.1.9).
type PSS struct {
	Hash, MGF, Salt uint
}

// Answer is what came of a request.
type Answer struct {
	// RV is what Call returned, 0 = CKR_OK (PKCS#11 v3.1 section 5.1).
	RV   uint
	Call string `json:",omitempty"` // for example "C_Login"
	// Error is what went wrong besides: no function of the module said so.
	Error string `json:",omitempty"`

	Info       *Info      `json:",omitempty"` // OpLoad
	Slots      []Slot     `json:",omitempty"` // OpSlots
	Token      *TokenInfo `json:",omitempty"` // OpOpen and what sends a secret
	State      uint       `json:",omitempty"` // OpOpen: CKS_…
	Mechanisms []uint     `json:",omitempty"` // OpOpen
	Objects    []Object   `json:",omitempty"` // OpObjects
	Again      bool       `json:",omitempty"` // OpBegin: CKA_ALWAYS_AUTHENTICATE
	Signature  []byte     `json:",omitempty"` // OpSign
}

// OK reports whether all went well.
func (a Answer) OK() bool { return a.RV == 0 && a.Error == "" }

// Info is CK_INFO.
type Info struct {
	Manufacturer, Description, Version string
}

// Slot is CK_SLOT_INFO with the token inside, if there is one.
type Slot struct {
	ID          uint
	Description string
	Token       *TokenInfo `json:",omitempty"`
}

// TokenInfo is CK_TOKEN_INFO (PKCS#11 v3.1 section 3.2), without blanks at the
// end of texts.
type TokenInfo struct {
	Label, Manufacturer, Model, Serial string
	Flags                              uint
	MinPIN, MaxPIN                     uint // bytes
}

// Object is a certificate or a key. Absent attributes are empty.
type Object struct {
	Class       uint   // CKO_…
	ID          []byte `json:",omitempty"`
	Label       string `json:",omitempty"`
	Certificate []byte `json:",omitempty"` // CKA_VALUE of a CKC_X_509
	KeyType     uint   `json:",omitempty"`
	Modulus     []byte `json:",omitempty"`
	Exponent    []byte `json:",omitempty"`
	Params      []byte `json:",omitempty"` // CKA_EC_PARAMS
	Point       []byte `json:",omitempty"` // CKA_EC_POINT
	NoSign      bool   `json:",omitempty"` // CKA_SIGN, or CKA_VERIFY, is CK_FALSE
	Always      bool   `json:",omitempty"` // CKA_ALWAYS_AUTHENTICATE
}

// ErrGarbage means that what came is not one message.
var ErrGarbage = errors.New("not a message")

// Pair returns both ends of a connection. The first never reaches a child by
// itself; each end takes a message of [Max] bytes whole.
func Pair() (ours, theirs int, err error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, -1, fmt.Errorf("making a socket pair: %w", err)
	}
	for _, end := range ends {
		// The kernel counts its own overhead, too (socket(7), SO_SNDBUF).
		if err := unix.SetsockoptInt(end, unix.SOL_SOCKET, unix.SO_SNDBUF, 2*Max); err != nil {
			return -1, -1, errors.Join(fmt.Errorf("sizing a socket pair: %w", err), unix.Close(ends[0]), unix.Close(ends[1]))
		}
	}
	return ends[0], ends[1], nil
}

// Send sends a message, with descriptors.
func Send(fd int, message any, descriptors ...int) error {
	text, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encoding a message: %w", err)
	}
	if len(text) > Max {
		return fmt.Errorf("message of %d bytes is longer than %d: %w", len(text), Max, ErrGarbage)
	}
	var oob []byte
	if len(descriptors) > 0 {
		oob = unix.UnixRights(descriptors...)
	}
	for {
		err := unix.Sendmsg(fd, text, oob, nil, unix.MSG_NOSIGNAL)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// IsWaiting reports whether a message is there already.
func IsWaiting(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n == 1 && fds[0].Revents&(unix.POLLIN|unix.POLLHUP) == unix.POLLIN
}

// Receive takes the next message, with its descriptors, which then belong to
// the caller. It returns io.EOF when the other side is gone. buffer has
// [Max]+1 bytes.
func Receive(fd int, message any, buffer []byte) (descriptors []int, err error) {
	oob := make([]byte, unix.CmsgSpace(4*MaxSecrets))
	var n, oobn, flags int
	for {
		n, oobn, flags, _, err = unix.Recvmsg(fd, buffer, oob, unix.MSG_CMSG_CLOEXEC)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	descriptors, err = rights(oob[:oobn])
	switch {
	case err != nil:
	case n == 0:
		err = io.EOF
	case n > Max || flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
		err = fmt.Errorf("longer than %d bytes: %w", Max, ErrGarbage)
	default:
		err = Decode(buffer[:n], message)
	}
	if err != nil {
		Close(descriptors)
		return nil, err
	}
	return descriptors, nil
}

// Decode reads a message strictly.
func Decode(text []byte, message any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(message); err != nil {
		return fmt.Errorf("%w: %w", ErrGarbage, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: more than one", ErrGarbage)
	}
	return nil
}

func rights(oob []byte) (all []int, err error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrGarbage, err)
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue // not descriptors
		}
		all = append(all, fds...)
	}
	return all, nil
}

// Close closes descriptors.
func Close(descriptors []int) {
	for _, fd := range descriptors {
		_ = unix.Close(fd)
	}
}
