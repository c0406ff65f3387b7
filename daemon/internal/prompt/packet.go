package prompt

import (
	"fmt"
	"net"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
	"github.com/inkan-project/inkan/token"
)

const (
	// maxPacket is the longest datagram, in bytes (proto/inkan/v1/pin.proto).
	maxPacket = 8 << 10
	// maxConfirmation is the longest confirmation, in characters (pin.proto).
	maxConfirmation = 32
	// maxDescriptors is SCM_MAX_FD of the kernel: more cannot come at once, so
	// that we see, and close, all that come.
	maxDescriptors = 253
	// sendTimeout is how long an agent may leave its packets unread.
	sendTimeout = 2 * time.Second
)

// link is a connection to an agent as packets. Receive is for one goroutine,
// Send for one at a time; Close ends both and may be called at any time.
type link interface {
	// Receive returns a packet that an agent may send, with all its fields in
	// their limits, and the descriptors that came with it; they belong to the
	// caller. With an error there are none.
	Receive() (*inkanpb.PinPacket, []int, error)
	Send(*inkanpb.PinPacket) error
	Close() error
}

// socket is a link over a SOCK_SEQPACKET connection to one process: a packet
// that another process sent on it, which has the connection from that one,
// breaks the protocol.
type socket struct {
	conn *net.UnixConn
	pid  int32 // of the process that connected
	data []byte
	oob  []byte
}

func newSocket(conn *net.UnixConn, pid int32) *socket {
	return &socket{
		conn: conn,
		pid:  pid,
		data: make([]byte, maxPacket),
		oob:  make([]byte, unix.CmsgSpace(4*maxDescriptors)+unix.CmsgSpace(unix.SizeofUcred)), // 4: sizeof(int)
	}
}

// passCredentials has the kernel say with each packet who sent it (unix(7),
// SO_PASSCRED). Connections have this from the listener that accepts them;
// one that came before it was set there gets it when it is accepted, and what
// was sent on it before says nothing.
func passCredentials(c syscall.Conn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return fmt.Errorf("reaching PIN socket: %w", err)
	}
	var inner error
	if err := raw.Control(func(fd uintptr) {
		inner = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	}); err != nil {
		return fmt.Errorf("reaching PIN socket: %w", err)
	}
	if inner != nil {
		return fmt.Errorf("asking for the senders of packets: %w", inner)
	}
	return nil
}

// Receive implements link.
func (s *socket) Receive() (*inkanpb.PinPacket, []int, error) {
	n, oobn, flags, _, err := s.conn.ReadMsgUnix(s.data, s.oob)
	// With an error too: to Go an empty packet is the end of the connection,
	// and to the kernel it can carry descriptors.
	fds, sender, strange := control(s.oob[:oobn])
	packet := &inkanpb.PinPacket{}
	switch {
	case err != nil:
		err = fmt.Errorf("reading from agent: %w", err)
	case flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
		err = fmt.Errorf("%w: packet longer than %d bytes or with too many descriptors", errProtocol, maxPacket)
	case strange:
		err = fmt.Errorf("%w: control data that is neither SCM_RIGHTS nor SCM_CREDENTIALS", errProtocol)
	default:
		packet, err = decode(s.data[:n])
	}
	// A hello may have been sent before anybody asked who sends: it gives
	// nothing away and takes nothing.
	if early := sender == 0 && packet.GetHello() != nil; err == nil && !early && (sender == 0 || sender != s.pid) {
		err = fmt.Errorf("%w: packet of process %d on the connection of process %d", errProtocol, sender, s.pid)
	}
	if err != nil {
		closeAll(fds)
		return nil, nil, err
	}
	return packet, fds, nil
}

// Send implements link.
func (s *socket) Send(packet *inkanpb.PinPacket) error {
	data, err := proto.Marshal(packet)
	if err != nil {
		return fmt.Errorf("encoding packet for agent: %w", err)
	}
	if err := s.conn.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return fmt.Errorf("writing to agent: %w", err)
	}
	if _, err := s.conn.Write(data); err != nil {
		return fmt.Errorf("writing to agent: %w", err)
	}
	return nil
}

// Close implements link.
func (s *socket) Close() error { return s.conn.Close() }

// control returns the descriptors in control data, the process that sent it,
// 0 if that is not said, and whether there is anything else in it.
func control(oob []byte) (fds []int, sender int32, strange bool) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, 0, true
	}
	for i := range messages {
		if cred, err := unix.ParseUnixCredentials(&messages[i]); err == nil {
			strange = strange || sender != 0
			sender = cred.Pid
			continue
		}
		got, err := unix.ParseUnixRights(&messages[i])
		strange = strange || err != nil
		fds = append(fds, got...)
	}
	return fds, sender, strange
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

// decode reads a packet and checks that an agent may send it and that each
// field keeps its rule in pin.proto. A test holds these checks and the rules
// together.
func decode(data []byte) (*inkanpb.PinPacket, error) {
	packet := &inkanpb.PinPacket{}
	// The error of the library may repeat what the packet holds: not kept.
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(data, packet); err != nil {
		return nil, fmt.Errorf("%w: not a PinPacket", errProtocol)
	}
	ok := false
	switch p := packet.GetPacket().(type) {
	case *inkanpb.PinPacket_Hello:
		v := p.Hello.GetVersion()
		ok = v >= 1 && v <= 1000
	case *inkanpb.PinPacket_Answer:
		ok = isPromptID(p.Answer.GetPromptId()) && p.Answer.GetLength() <= token.PINCapacity &&
			utf8.RuneCountInString(p.Answer.GetConfirmation()) <= maxConfirmation
	case *inkanpb.PinPacket_Cancel:
		ok = isPromptID(p.Cancel.GetPromptId())
	}
	if !ok {
		return nil, fmt.Errorf("%w: packet of type %T with a field out of range", errProtocol, packet.GetPacket())
	}
	return packet, nil
}

// isPromptID checks the rule of prompt_id: 1 to 64 characters.
func isPromptID(id string) bool {
	n := utf8.RuneCountInString(id)
	return n >= 1 && n <= 64
}
