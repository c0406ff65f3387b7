package rpc

import (
	"encoding/binary"
	"slices"
	"testing"
)

// frame is one frame as it is on the wire.
func frame(kind, flags byte, stream uint32, payload int) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(payload)<<8|uint32(kind))
	b = binary.BigEndian.AppendUint32(append(b, flags), stream)
	return append(b, make([]byte, payload)...)
}

// endedIn follows pieces.
func endedIn(pieces ...[]byte) []uint32 {
	var f frames
	var all []uint32
	for _, piece := range pieces {
		f.follow(piece, func(stream uint32) { all = append(all, stream) }, func(uint32, int) {})
	}
	return all
}

func TestAStreamEndsWithItsLastFrameAndNotBefore(t *testing.T) {
	const settings, continuation, endHeaders, ack = 0x4, 0x9, 0x4, 0x1
	tests := map[string]struct {
		frames [][]byte
		want   []uint32
	}{
		"an answer":            {[][]byte{frame(frameHeaders, endHeaders, 1, 20), frame(frameData, 0, 1, 90), frame(frameHeaders, endHeaders|endStream, 1, 24)}, []uint32{1}},
		"an answer held back":  {[][]byte{frame(frameHeaders, endHeaders, 1, 20), frame(frameData, 0, 1, 90)}, nil},
		"an error":             {[][]byte{frame(frameHeaders, endHeaders|endStream, 3, 20)}, []uint32{3}},
		"trailers in pieces":   {[][]byte{frame(frameHeaders, endStream, 3, 20), frame(continuation, endHeaders, 3, 5)}, []uint32{3}},
		"data that ends":       {[][]byte{frame(frameData, endStream, 5, 0), frame(frameData, endStream, 7, 1)}, []uint32{5, 7}},
		"a reset":              {[][]byte{frame(frameReset, 0, 1<<31|9, 4)}, []uint32{9}},
		"an acknowledgement":   {[][]byte{frame(settings, ack, 0, 0)}, nil},
		"a kind nobody knows":  {[][]byte{frame(0xee, 0xff, 1, 100)}, nil},
		"the largest frame":    {[][]byte{frame(frameData, endStream, 1, 1<<24-1), frame(frameReset, 0, 3, 4)}, []uint32{1, 3}},
		"streams side by side": {[][]byte{frame(frameHeaders, 4, 1, 9), frame(frameHeaders, 4, 3, 9), frame(frameData, 1, 3, 2), frame(frameData, 1, 1, 2)}, []uint32{3, 1}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			whole := slices.Concat(tt.frames...)
			if got := endedIn(whole); !slices.Equal(got, tt.want) {
				t.Errorf("ended %v, want %v", got, tt.want)
			}
			if got := endedIn(whole[:len(whole)-1]); len(tt.want) > 0 && tt.frames[len(tt.frames)-1][3] != continuation && len(got) != len(tt.want)-1 {
				t.Errorf("without the last byte ended %v", got)
			}
			for size := 1; size < min(len(whole), 40) && len(whole) < 1<<16; size++ {
				if got := endedIn(slices.Collect(slices.Chunk(whole, size))...); !slices.Equal(got, tt.want) {
					t.Errorf("in pieces of %d ended %v, want %v", size, got, tt.want)
				}
			}
		})
	}
}

func TestTheBytesOfMessagesAreCounted(t *testing.T) {
	whole := slices.Concat(frame(frameHeaders, 4, 1, 20), frame(frameData, 0, 1, 30), frame(frameData, 0, 3, 5), frame(frameData, 1, 1, 7), frame(frameHeaders, 5, 3, 9))
	for size := 1; size <= len(whole); size++ {
		var f frames
		got := map[uint32]int{}
		for piece := range slices.Chunk(whole, size) {
			f.follow(piece, func(uint32) {}, func(stream uint32, n int) { got[stream] += n })
		}
		if got[1] != 37 || got[3] != 5 || len(got) != 2 {
			t.Fatalf("in pieces of %d: %v", size, got)
		}
	}
}

// FuzzFrames cuts what a connection carries in two places: that must make no
// difference, and what is said to end is what a plain reading says.
func FuzzFrames(f *testing.F) {
	f.Add(slices.Concat(frame(frameHeaders, 5, 1, 3), frame(frameReset, 0, 3, 4), frame(frameData, 1, 5, 0)), uint16(4), uint16(12))
	f.Add([]byte{0, 0, 1}, uint16(1), uint16(2))
	f.Fuzz(func(t *testing.T, b []byte, first, second uint16) {
		var want []uint32
		for rest := b; len(rest) >= frameHeader; {
			length := int(rest[0])<<16 | int(rest[1])<<8 | int(rest[2])
			if len(rest) < frameHeader+length {
				break
			}
			if kind := rest[3]; kind == 3 || kind <= 1 && rest[4]&1 == 1 {
				want = append(want, binary.BigEndian.Uint32(rest[5:])&0x7fffffff)
			}
			rest = rest[frameHeader+length:]
		}
		i := min(int(first), len(b))
		j := min(i+int(second), len(b))
		if got := endedIn(b[:i], b[i:j], b[j:]); !slices.Equal(got, want) {
			t.Errorf("ended %v, want %v", got, want)
		}
	})
}
