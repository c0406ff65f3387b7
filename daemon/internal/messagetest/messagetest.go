// Package messagetest makes proto messages out of fuzz inputs, by their
// descriptors: what a parser takes, and handlers must survive.
//
// It guarantees that the same input makes the same message, that any input
// makes one, and that it ends. A caller keeps nothing between inputs.
package messagetest

import (
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Source gives out an input piece by piece; then zeros.
type Source struct{ rest []byte }

// NewSource returns a Source of an input.
func NewSource(input []byte) *Source { return &Source{input} }

// Byte returns the next byte, 0 at the end.
func (s *Source) Byte() byte {
	if len(s.rest) == 0 {
		return 0
	}
	b := s.rest[0]
	s.rest = s.rest[1:]
	return b
}

// Bytes returns the next n bytes, or as many as there are.
func (s *Source) Bytes(n int) []byte {
	n = min(n, len(s.rest))
	b := s.rest[:n]
	s.rest = s.rest[n:]
	return b
}

// Empty reports whether nothing is left.
func (s *Source) Empty() bool { return len(s.rest) == 0 }

// number returns the next eight bytes as a number.
func (s *Source) number() uint64 {
	n := uint64(0)
	for range 8 {
		n = n<<8 | uint64(s.Byte())
	}
	return n
}

// deepest is how far messages are put into each other, and longest the length
// of a list.
const (
	deepest = 4
	longest = 8
)

// Fill sets fields of a message as the source says. words are strings that mean
// something to whoever gets the message.
func Fill(m protoreflect.Message, s *Source, words []string) { fill(m, s, words, deepest) }

func fill(m protoreflect.Message, s *Source, words []string, depth int) {
	fields := m.Descriptor().Fields()
	for i := 0; i < fields.Len() && !s.Empty() && depth > 0; i++ {
		f := fields.Get(i)
		if s.Byte()%4 == 0 { // else it is set
			continue
		}
		switch {
		case f.IsMap():
		case f.IsList():
			list := m.Mutable(f).List()
			for range s.Byte() % longest {
				if f.Message() != nil {
					fill(list.AppendMutable().Message(), s, words, depth-1)
				} else {
					list.Append(scalar(f, s, words))
				}
			}
		case f.Message() != nil:
			fill(m.Mutable(f).Message(), s, words, depth-1)
		default:
			m.Set(f, scalar(f, s, words))
		}
	}
}

// scalar returns a value of a field that is no message.
func scalar(f protoreflect.FieldDescriptor, s *Source, words []string) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(s.Byte()&1 == 1)
	case protoreflect.EnumKind:
		if values := f.Enum().Values(); s.Byte()%8 != 0 {
			return protoreflect.ValueOfEnum(values.Get(int(s.Byte()) % values.Len()).Number())
		}
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(int32(s.number())))
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(s.number()))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(int64(s.number()))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(s.number()) >> (s.Byte() % 32))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(s.number() >> (s.Byte() % 64))
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(s.number()))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(float64(s.number()))
	case protoreflect.BytesKind:
		size := int(s.Byte())
		if kind := s.Byte() % 4; kind != 0 { // mostly as long as a digest
			return protoreflect.ValueOfBytes(append(make([]byte, 16*(kind+1)), s.Bytes(size%4)...))
		}
		return protoreflect.ValueOfBytes(s.Bytes(size))
	case protoreflect.StringKind, protoreflect.MessageKind, protoreflect.GroupKind:
	}
	pick := s.Byte()
	if len(words) > 0 && pick%4 != 0 {
		return protoreflect.ValueOfString(words[int(pick)%len(words)])
	}
	return protoreflect.ValueOfString(string(s.Bytes(int(s.Byte()))))
}
