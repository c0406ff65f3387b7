package processtest_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

// canary is a secret that stands nowhere, so that wherever it is found it was
// copied to.
type canary struct {
	name, digits string
}

// newCanary returns eight random digits.
func newCanary(name string) canary {
	digits := make([]byte, 8)
	_, _ = rand.Read(digits) // never fails (crypto/rand)
	for i := range digits {
		digits[i] = '0' + digits[i]%10
	}
	return canary{name, string(digits)}
}

// form is a canary as some program may have written it.
type form struct {
	canary canary
	name   string
	bytes  []byte
	short  bool // four bytes: found by chance once in a while
}

// forms are all that are looked for.
func (c canary) forms() []form {
	ascii := []byte(c.digits)
	bcd, err := hex.DecodeString(c.digits)
	if err != nil {
		panic(err) // digits are hexadecimal
	}
	nibbles := make([]byte, len(bcd)) // each byte turned, as in numbers of GSM 11.11
	for i, b := range bcd {
		nibbles[i] = b<<4 | b>>4
	}
	wide := make([]byte, 0, 2*len(ascii))
	for _, unit := range utf16.Encode([]rune(c.digits)) {
		wide = append(wide, byte(unit), byte(unit>>8))
	}
	decimal := fmt.Sprint(ascii) // [49 50 51]
	forms := []form{
		{c, "ASCII", ascii, false},
		{c, "reversed", reversed(ascii), false},
		{c, "UTF-16", wide, false},
		{c, "hexadecimal", []byte(hex.EncodeToString(ascii)), false},
		{c, "hexadecimal with spaces", fmt.Appendf(nil, "% x", ascii), false},
		{c, "hexadecimal with colons", []byte(strings.ReplaceAll(fmt.Sprintf("% x", ascii), " ", ":")), false},
		{c, "decimal", []byte(strings.Trim(decimal, "[]")), false},
		{c, "BCD", bcd, true},
		{c, "BCD, nibbles reversed", nibbles, true},
	}
	for before := range 3 { // where it may stand in a group of three bytes
		text := base64.StdEncoding.EncodeToString(append(make([]byte, before), ascii...))
		whole := text[(before*8+5)/6 : (before+len(ascii))*8/6] // the characters that are of it alone
		forms = append(forms, form{c, "base64", []byte(whole), false})
	}
	return forms
}

func reversed(b []byte) []byte {
	b = bytes.Clone(b)
	slices.Reverse(b)
	return b
}

// found is one place in which a canary was.
type found struct {
	where   string
	address int64 // in memory or in the file
	form    form
}

// String says what was found without saying the canary.
func (f found) String() string {
	return fmt.Sprintf("%s at %x: %s, %s", f.where, f.address, f.form.canary.name, f.form.name)
}

// search looks for canaries.
type search struct {
	forms   []form
	longest int
	found   []found
	looked  int64 // bytes
}

func newSearch(canaries ...canary) *search {
	s := &search{}
	for _, c := range canaries {
		s.forms = append(s.forms, c.forms()...)
	}
	for _, f := range s.forms {
		s.longest = max(s.longest, len(f.bytes))
	}
	return s
}

// in looks through some bytes, the first of which has this address. Places that
// begin in the last overlap bytes are left to the next call.
func (s *search) in(where string, address int64, b []byte, overlap int) {
	s.looked += int64(len(b) - overlap)
	for _, f := range s.forms {
		for at := 0; ; {
			i := bytes.Index(b[at:], f.bytes)
			if i < 0 || at+i >= len(b)-overlap && overlap > 0 {
				break
			}
			s.found = append(s.found, found{where, address + int64(at+i), f})
			at += i + 1
		}
	}
}

// chunk is how much memory is read at once.
const chunk = 1 << 20

// memory looks through everything in a process that can be read: pages of
// memfd_secret cannot, by nobody.
func (s *search) memory(t *testing.T, name string, pid int) {
	t.Helper()
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer maps.Close()
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	before := s.looked
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var from, to int64
		var mode string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &mode); err != nil || mode[0] != 'r' {
			continue // [vsyscall] is above an int64
		}
		s.mapping(name+" "+lines.Text(), mem, from, to)
	}
	if n := s.looked - before; n < 4<<20 {
		t.Errorf("only %d bytes of %s could be read", n, name)
	}
}

// mapping looks through one mapping. A page that cannot be read is passed over.
func (s *search) mapping(where string, mem *os.File, from, to int64) {
	page := int64(os.Getpagesize())
	buf := make([]byte, chunk)
	for at := from; at < to; {
		n, _ := mem.ReadAt(buf[:min(chunk, to-at)], at)
		if n == 0 {
			at += page
			continue
		}
		overlap := 0
		if n == chunk {
			overlap = s.longest
		}
		s.in(where, at, buf[:n], overlap)
		at += int64(n - overlap)
	}
	clear(buf)
}

// files looks through all files under a folder.
func (s *search) files(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) { // SQLite's come and go
			return nil
		}
		s.in(path, 0, content, 0)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheSearchFindsEachFormOnceAcrossChunks(t *testing.T) {
	c := newCanary("PIN")
	for _, f := range c.forms() {
		s := newSearch(c)
		s.forms = []form{f}
		block := make([]byte, 3*s.longest)
		copy(block[s.longest:], f.bytes)
		for cut := s.longest; cut < 3*s.longest; cut++ {
			s.found = nil
			s.in("first", 0, block[:cut], s.longest)
			s.in("second", 0, block[cut-s.longest:], 0)
			if len(s.found) != 1 {
				t.Errorf("%s, cut at %d: found %d times", f.name, cut, len(s.found))
			}
		}
	}
}
