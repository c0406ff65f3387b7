package apdu

import (
	"errors"
	"fmt"
)

// Caps on data objects from a card.
const (
	maxTLVDepth   = 8    // length of a path
	maxTLVNodes   = 4096 // objects looked at for one question
	maxTagBytes   = 3    // ISO/IEC 7816-4 section 6.3
	maxLengthSize = 4    // bytes after 8x; section 6.3
)

// ErrNoTag means that a data object is not there.
var ErrNoTag = errors.New("no such data object")

// TLV is one BER-TLV data object (ISO/IEC 7816-4 section 6.3). The tag is
// written as its bytes read as a number, for example 0x5FC102.
type TLV struct {
	Tag   uint32
	Value []byte
}

// ParseTLV decodes the data objects that stand side by side in b, one level
// deep. Values point into b. It returns an error wrapping [ErrMalformed] when
// b is anything else, and for more than 4096 objects.
func ParseTLV(b []byte) ([]TLV, error) {
	var list []TLV
	for len(b) > 0 {
		if len(list) == maxTLVNodes {
			return nil, fmt.Errorf("more than %d data objects: %w", maxTLVNodes, ErrMalformed)
		}
		object, rest, err := nextTLV(b)
		if err != nil {
			return nil, err
		}
		list, b = append(list, object), rest
	}
	return list, nil
}

// Find returns the value of the first data object at a path of tags, the
// outermost first. The value points into b. It returns an error wrapping
// [ErrNoTag] when there is none, and one wrapping [ErrMalformed] when the
// bytes up to it are no data objects, or a cap is reached: 8 levels, 4096
// objects.
func Find(b []byte, path ...uint32) ([]byte, error) {
	if len(path) > maxTLVDepth {
		return nil, fmt.Errorf("path of %d tags: %w", len(path), ErrMalformed)
	}
	budget := maxTLVNodes
	for _, tag := range path {
		value, err := findOne(b, tag, &budget)
		if err != nil {
			return nil, err
		}
		b = value
	}
	return b, nil
}

func findOne(b []byte, tag uint32, budget *int) ([]byte, error) {
	for len(b) > 0 {
		if *budget--; *budget < 0 {
			return nil, fmt.Errorf("more than %d data objects: %w", maxTLVNodes, ErrMalformed)
		}
		object, rest, err := nextTLV(b)
		if err != nil {
			return nil, err
		}
		if object.Tag == tag {
			return object.Value, nil
		}
		b = rest
	}
	return nil, fmt.Errorf("tag %X: %w", tag, ErrNoTag)
}

func nextTLV(b []byte) (object TLV, rest []byte, err error) {
	tag, b, err := cutTag(b)
	if err != nil {
		return TLV{}, nil, err
	}
	n, b, err := cutLength(b)
	if err != nil {
		return TLV{}, nil, fmt.Errorf("data object %X: %w", tag, err)
	}
	if n > uint64(len(b)) {
		return TLV{}, nil, fmt.Errorf("data object %X says %d bytes, there are %d: %w", tag, n, len(b), ErrMalformed)
	}
	return TLV{Tag: tag, Value: b[:n:n]}, b[n:], nil
}

// cutTag reads one to three bytes (ISO/IEC 7816-4 section 6.3): five low
// bits set in the first announce more, bit 8 in each further one another.
func cutTag(b []byte) (tag uint32, rest []byte, err error) {
	if b[0] == 0 {
		return 0, nil, fmt.Errorf("data object with tag 0: %w", ErrMalformed)
	}
	tag = uint32(b[0])
	if tag&0x1F != 0x1F {
		return tag, b[1:], nil
	}
	for i := 1; i < maxTagBytes && i < len(b); i++ {
		tag = tag<<8 | uint32(b[i])
		if b[i]&0x80 == 0 {
			return tag, b[i+1:], nil
		}
	}
	return 0, nil, fmt.Errorf("data object with a tag that does not end: %w", ErrMalformed)
}

// cutLength reads 00 to 7F, or 81 to 84 and so many bytes (ISO/IEC 7816-4
// section 6.3). The indefinite form, 80, is not used by cards.
func cutLength(b []byte) (n uint64, rest []byte, err error) {
	if len(b) == 0 {
		return 0, nil, fmt.Errorf("length is missing: %w", ErrMalformed)
	}
	first, b := b[0], b[1:]
	if first < 0x80 {
		return uint64(first), b, nil
	}
	size := int(first & 0x7F)
	if size == 0 || size > maxLengthSize || size > len(b) {
		return 0, nil, fmt.Errorf("length field %02X: %w", first, ErrMalformed)
	}
	for _, c := range b[:size] {
		n = n<<8 | uint64(c)
	}
	return n, b[size:], nil
}

// AppendTLV appends a data object with the shortest length field. The tag
// must be one that ISO/IEC 7816-4 section 6.3 allows, of at most three
// bytes.
func AppendTLV(dst []byte, tag uint32, value []byte) []byte {
	for shift := 24; shift >= 0; shift -= 8 {
		if tag>>shift != 0 || shift == 0 {
			dst = append(dst, byte(tag>>shift))
		}
	}
	n := uint64(len(value))
	switch {
	case n < 0x80:
		dst = append(dst, byte(n))
	case n < 1<<8:
		dst = append(dst, 0x81, byte(n))
	case n < 1<<16:
		dst = append(dst, 0x82, byte(n>>8), byte(n))
	case n < 1<<24:
		dst = append(dst, 0x83, byte(n>>16), byte(n>>8), byte(n))
	default:
		dst = append(dst, 0x84, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return append(dst, value...)
}
