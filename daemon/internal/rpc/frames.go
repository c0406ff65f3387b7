package rpc

import "encoding/binary"

// Of HTTP/2 frames: RFC 9113, sections 3.4, 4.1 and 6.1 to 6.4.
const (
	prefaceLength = 24 // bytes that a client sends before its first frame
	frameHeader   = 9  // bytes: length 24 bits, type 8, flags 8, reserved 1, stream 31
	frameData     = 0x0
	frameHeaders  = 0x1
	frameReset    = 0x3
	endStream     = 0x1 // flag of DATA and HEADERS
)

// frames follows the frames that one end of a connection sends, piece by piece
// as they come. It keeps nothing of what they hold.
type frames struct {
	header [frameHeader]byte
	have   int // bytes of header
	rest   int // bytes of the frame after its header that did not come yet
}

// count takes the next piece and returns how many frames begin in it.
func (f *frames) count(piece []byte) (n int) {
	for len(piece) > 0 {
		if f.rest > 0 {
			skipped := min(f.rest, len(piece))
			f.rest -= skipped
			piece = piece[skipped:]
			continue
		}
		took := copy(f.header[f.have:], piece)
		f.have += took
		piece = piece[took:]
		if f.have == frameHeader {
			n, f.have = n+1, 0
			f.rest = int(f.header[0])<<16 | int(f.header[1])<<8 | int(f.header[2])
		}
	}
	return n
}

// follow takes the next piece. It calls ended for each stream on which nothing
// more can come, once the frame that ends it is complete, and came for the
// bytes of messages. Frames that continue the headers of an answer
// (CONTINUATION) hold nothing of its message.
func (f *frames) follow(piece []byte, ended func(stream uint32), came func(stream uint32, bytes int)) {
	for len(piece) > 0 {
		if f.have < frameHeader {
			n := copy(f.header[f.have:], piece)
			f.have += n
			piece = piece[n:]
			if f.have < frameHeader {
				return
			}
			f.rest = int(f.header[0])<<16 | int(f.header[1])<<8 | int(f.header[2])
		}
		n := min(f.rest, len(piece))
		f.rest -= n
		piece = piece[n:]
		kind, flags, stream := f.header[3], f.header[4], binary.BigEndian.Uint32(f.header[5:])&^(1<<31)
		if kind == frameData && n > 0 {
			came(stream, n)
		}
		if f.rest > 0 {
			return
		}
		f.have = 0
		if kind == frameReset || (kind == frameData || kind == frameHeaders) && flags&endStream != 0 {
			ended(stream)
		}
	}
}
