package pcsc

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode"
)

// The kernel's list of Unix sockets (Linux include/uapi/linux/unix_diag.h and
// sock_diag.h): struct unix_diag_req, struct unix_diag_msg and attributes.
const (
	netlinkSockDiag  = 4
	sockDiagByFamily = 20

	diagShowName = 0x01
	diagShowPeer = 0x04
	diagShowUID  = 0x40

	diagName = 0 // bytes
	diagPeer = 2 // inode, uint32
	diagUID  = 7 // uint32

	diagRequestLength = 24
	diagMessageLength = 16 // then attributes
	diagInodeAt       = 4
	attributeHeader   = 4 // length, type: uint16 each
)

const (
	maxPrograms   = 32
	netlinkBuffer = 1 << 16
	netlinkRounds = 1 << 12 // pieces of one answer
)

// connectedTo returns who is connected to the socket with this path.
func connectedTo(path string) ([]Program, error) {
	table, err := unixSockets()
	if err != nil {
		return nil, fmt.Errorf("listing sockets: %w", err)
	}
	clients := map[uint32]uint32{} // inode of the client's end -> user
	for _, end := range table {
		if end.name == path && end.peer != 0 {
			clients[end.peer] = table[end.peer].uid
		}
	}
	return programsOf(clients), nil
}

// socketEnd is one end of a Unix connection.
type socketEnd struct {
	name      string
	peer, uid uint32
}

// unixSockets asks the kernel for all Unix sockets of this network namespace.
func unixSockets() (map[uint32]socketEnd, error) {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, netlinkSockDiag)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(fd)
	if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &syscall.Timeval{Sec: 1}); err != nil {
		return nil, err
	}
	if err := syscall.Sendto(fd, diagRequest(), 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return nil, err
	}
	table := map[uint32]socketEnd{}
	buffer := make([]byte, netlinkBuffer)
	for range netlinkRounds {
		n, _, err := syscall.Recvfrom(fd, buffer, 0)
		if err != nil {
			return nil, err
		}
		messages, err := syscall.ParseNetlinkMessage(buffer[:n])
		if err != nil {
			return nil, err
		}
		for _, m := range messages {
			switch m.Header.Type {
			case syscall.NLMSG_DONE:
				return table, nil
			case syscall.NLMSG_ERROR:
				return nil, errors.New("the kernel refuses")
			}
			if len(m.Data) >= diagMessageLength {
				inode := binary.NativeEndian.Uint32(m.Data[diagInodeAt:])
				table[inode] = parseEnd(m.Data[diagMessageLength:])
			}
		}
	}
	return nil, errors.New("the list does not end")
}

// diagRequest asks for sockets in every state.
func diagRequest() []byte {
	b := make([]byte, 0, syscall.NLMSG_HDRLEN+diagRequestLength)
	b = binary.NativeEndian.AppendUint32(b, syscall.NLMSG_HDRLEN+diagRequestLength)
	b = binary.NativeEndian.AppendUint16(b, sockDiagByFamily)
	b = binary.NativeEndian.AppendUint16(b, syscall.NLM_F_REQUEST|syscall.NLM_F_DUMP)
	b = append(b, make([]byte, 8)...)                // sequence, port: ours alone
	b = append(b, syscall.AF_UNIX, 0, 0, 0)          // family, protocol, padding
	b = binary.NativeEndian.AppendUint32(b, 1<<32-1) // states: all
	b = binary.NativeEndian.AppendUint32(b, 0)       // inode: any
	b = binary.NativeEndian.AppendUint32(b, diagShowName|diagShowPeer|diagShowUID)
	return append(b, make([]byte, 8)...) // cookie: none
}

// parseEnd reads attributes; what is cut off is left out.
func parseEnd(b []byte) (end socketEnd) {
	for len(b) >= attributeHeader {
		length := int(binary.NativeEndian.Uint16(b))
		kind := binary.NativeEndian.Uint16(b[2:])
		if length < attributeHeader || length > len(b) {
			return end
		}
		value := b[attributeHeader:length]
		switch {
		case kind == diagName:
			end.name = strings.TrimRight(string(value), "\x00")
		case kind == diagPeer && len(value) >= 4:
			end.peer = binary.NativeEndian.Uint32(value)
		case kind == diagUID && len(value) >= 4:
			end.uid = binary.NativeEndian.Uint32(value)
		}
		aligned := (length + 3) &^ 3
		b = b[min(aligned, len(b)):]
	}
	return end
}

// programsOf finds the processes that have these sockets open. Who has one that
// cannot be found is known by its user alone.
func programsOf(clients map[uint32]uint32) []Program {
	var programs []Program
	ours := os.Getpid()
	found, _ := filepath.Glob("/proc/[0-9]*/fd/*") // the pattern is right
	seen := map[int]bool{}
	for _, link := range found {
		inode, ok := socketInode(link)
		if !ok {
			continue
		}
		uid, ok := clients[inode]
		if !ok {
			continue
		}
		pid, err := strconv.Atoi(strings.Split(link, "/")[2])
		delete(clients, inode)
		if err != nil || pid == ours || seen[pid] {
			continue
		}
		seen[pid] = true
		programs = append(programs, Program{PID: pid, Name: processName(pid), UID: uid})
	}
	users := map[uint32]bool{}
	for _, uid := range clients {
		if !users[uid] {
			users[uid] = true
			programs = append(programs, Program{UID: uid})
		}
	}
	slices.SortFunc(programs, func(a, b Program) int {
		return cmp.Or(cmp.Compare(a.PID, b.PID), cmp.Compare(a.UID, b.UID))
	})
	return programs[:min(len(programs), maxPrograms)]
}

// socketInode reads a link such as socket:[1234].
func socketInode(link string) (uint32, bool) {
	target, err := os.Readlink(link)
	if err != nil || !strings.HasPrefix(target, "socket:[") {
		return 0, false
	}
	inode, err := strconv.ParseUint(strings.TrimSuffix(target[len("socket:["):], "]"), 10, 32)
	return uint32(inode), err == nil
}

// processName is what a process calls itself, made safe to print.
func processName(pid int) string {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return ""
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, string(name))
}
