package apdu

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDataObjectsAreParsedOneLevelDeep(t *testing.T) {
	got, err := ParseTLV(unhex(t, "5FC102 03 010203  7C 04 8202 AABB  53 8180"+string(bytes.Repeat([]byte("00"), 128))))
	want := []TLV{
		{0x5FC102, []byte{1, 2, 3}},
		{0x7C, []byte{0x82, 2, 0xAA, 0xBB}},
		{0x53, make([]byte, 128)},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("got error %v, difference %s", err, diff)
	}
}

func TestBrokenDataObjectsAreRefused(t *testing.T) {
	for name, b := range map[string][]byte{
		"tag without length":          {0x53},
		"tag of four bytes":           {0x5F, 0x81, 0x82, 0x03, 0x00},
		"tag that does not end":       {0x5F},
		"tag 0":                       {0x00, 0x00},
		"indefinite length":           {0x53, 0x80, 0x00, 0x00},
		"length of five bytes":        {0x53, 0x85, 0, 0, 0, 0, 1, 0},
		"length that is cut":          {0x53, 0x82, 0x01},
		"value that is cut":           {0x53, 0x02, 0x01},
		"length of 4 GiB":             {0x53, 0x84, 0xFF, 0xFF, 0xFF, 0xFF},
		"4097 objects":                bytes.Repeat([]byte{0x53, 0x00}, maxTLVNodes+1),
		"a good one and then garbage": {0x53, 0x00, 0x00},
	} {
		if got, err := ParseTLV(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v, %v, want ErrMalformed", name, got, err)
		}
	}
}

func TestFindWalksAPath(t *testing.T) {
	b := unhex(t, "7C 06 8100 8202 AABB 53 00")
	got, err := Find(b, 0x7C, 0x82)
	if err != nil || !bytes.Equal(got, []byte{0xAA, 0xBB}) {
		t.Errorf("Find = %x, %v, want AABB", got, err)
	}
	if _, err := Find(b, 0x7C, 0x99); !errors.Is(err, ErrNoTag) {
		t.Errorf("absent tag: error %v, want ErrNoTag", err)
	}
	if _, err := Find([]byte{0x53}, 0x53); !errors.Is(err, ErrMalformed) {
		t.Errorf("broken bytes: error %v, want ErrMalformed", err)
	}
	if _, err := Find(b, make([]uint32, maxTLVDepth+1)...); !errors.Is(err, ErrMalformed) {
		t.Errorf("path too deep: error %v, want ErrMalformed", err)
	}
	if _, err := Find(bytes.Repeat([]byte{0x53, 0x00}, maxTLVNodes+1), 0x54); !errors.Is(err, ErrMalformed) {
		t.Errorf("too many objects: error %v, want ErrMalformed", err)
	}
}

func TestLengthFieldsAreShortest(t *testing.T) {
	for n, head := range map[int]string{
		0: "5300", 127: "537F", 128: "538180", 255: "5381FF", 256: "53820100", 65535: "5382FFFF", 65536: "5383010000",
	} {
		b := AppendTLV(nil, 0x53, make([]byte, n))
		if !bytes.HasPrefix(b, unhex(t, head)) || len(b) != len(head)/2+n {
			t.Errorf("%d bytes: %d in all, beginning %x, want beginning %s", n, len(b), b[:2], head)
		}
	}
}

func FuzzTLVRoundTrip(f *testing.F) {
	for _, s := range []string{
		"5FC10203010203", "7C0482008100", "5381807F", "7F490486020405", "53840000000100", "61114F0600001000010079074F05A000000308",
	} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := ParseTLV(b)
		_, _ = Find(b, 0x7C, 0x82) // may succeed before a broken part, must not panic
		if err != nil {
			return
		}
		var again []byte
		for _, o := range list {
			again = AppendTLV(again, o.Tag, o.Value)
			if _, err := Find(b, o.Tag); err != nil {
				t.Fatalf("tag %X parsed but not found: %v", o.Tag, err)
			}
		}
		if len(again) > len(b) {
			t.Fatalf("%x encodes longer than it was: %x", b, again)
		}
		if len(again) == len(b) && !bytes.Equal(again, b) {
			t.Fatalf("%x came back as %x", b, again)
		}
		back, err := ParseTLV(again)
		if diff := cmp.Diff(list, back); err != nil || diff != "" {
			t.Fatalf("second reading: %v, difference %s", err, diff)
		}
	})
}
