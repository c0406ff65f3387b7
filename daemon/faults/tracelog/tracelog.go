// Package tracelog reads what strace(1) saw of a program: which bytes it wrote
// where, and what it synced when.
//
// It guarantees that calls come in the order in which they can have had their
// effect: a write when it began, a sync when it had returned. A caller runs the
// program with [Args] and one writer for each file, and plays the calls to a
// disk that can lose power.
package tracelog

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Args are the arguments of strace before the program's: all that changes
// files goes to the file out, with names in plain text and data whole.
func Args(out string) []string {
	return []string{
		"-f", "-qq", "--seccomp-bpf", "-y", "-xx", "-s", "8000000", "-o", out, "-e",
		"trace=open,openat,write,pwrite64,fsync,fdatasync,ftruncate,rename,renameat,renameat2,unlink,unlinkat",
	}
}

// Kind is what a call does.
type Kind uint8

// Kinds of calls.
const (
	Create Kind = iota + 1 // an empty file, or one that is emptied
	Write
	Truncate
	Sync // of a file or a directory
	Rename
	Remove
)

// Call is one call that succeeded.
type Call struct {
	Kind   Kind
	Path   string // absolute
	To     string // of a rename
	Data   []byte
	Offset int64 // of a write, -1 = at the end; of a truncation the size
	// At is where in the log it stands: a program that was told something when
	// the log had this many bytes had done all calls up to there.
	At int64
}

// Parse reads a log and returns the calls on files under dir. What was not
// finished when the program ended is left out, but for writes.
func Parse(r io.Reader, dir string) ([]Call, error) {
	lines := bufio.NewReaderSize(r, 1<<20)
	open := map[string]string{} // by thread: the beginning of a call
	var calls []Call
	var at int64
	for {
		line, err := lines.ReadString('\n')
		at += int64(len(line))
		if errors.Is(err, io.EOF) {
			return calls, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading trace: %w", err)
		}
		thread, text, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
		text = strings.TrimLeft(text, " ")
		begun, unfinished := strings.CutSuffix(text, " <unfinished ...>")
		_, rest, resumed := strings.Cut(text, " resumed>")
		switch {
		case unfinished:
			open[thread] = begun
			if !isWrite(begun) {
				continue
			}
			text = begun + ") = 0" // it has its effect from now on
		case resumed && strings.HasPrefix(text, "<... "):
			text = open[thread] + rest
			delete(open, thread)
			if isWrite(text) {
				continue
			}
		}
		call, ok, err := parse(text)
		if err != nil {
			return nil, fmt.Errorf("trace at byte %d: %w", at, err)
		}
		if call.At = at; ok && (call.Path == dir || strings.HasPrefix(call.Path, dir+"/")) {
			calls = append(calls, call)
		}
	}
}

func isWrite(text string) bool {
	return strings.HasPrefix(text, "pwrite64(") || strings.HasPrefix(text, "write(")
}

// parse reads one call; ok is false for one that failed or changes nothing.
func parse(text string) (c Call, ok bool, err error) {
	name, rest, isCall := strings.Cut(text, "(")
	end := strings.LastIndex(rest, ")")
	if !isCall || end < 0 {
		return c, false, nil
	}
	result, returned := strings.CutPrefix(strings.TrimLeft(rest[end+1:], " "), "= ")
	if !returned || strings.HasPrefix(result, "-1") || strings.HasPrefix(result, "?") {
		return c, false, nil
	}
	args := strings.Split(rest[:end], ", ") // no argument but the data has a comma, and that is in hexadecimal
	for i, arg := range args {
		args[i] = strings.TrimSpace(arg)
	}
	switch name {
	case "open", "openat":
		return parseOpen(name, args)
	case "write", "pwrite64":
		return parseWrite(name, args)
	case "fsync", "fdatasync":
		path, err := descriptor(args[0])
		return Call{Kind: Sync, Path: path}, err == nil, err
	case "ftruncate":
		path, err1 := descriptor(args[0])
		size, err2 := strconv.ParseInt(args[1], 0, 64)
		return Call{Kind: Truncate, Path: path, Offset: size}, err1 == nil && err2 == nil, errors.Join(err1, err2)
	case "rename", "renameat", "renameat2":
		names := slices.DeleteFunc(args, func(a string) bool { return !strings.HasPrefix(a, `"`) })
		if len(names) != 2 {
			return c, false, fmt.Errorf("%d names in a rename", len(names))
		}
		from, err1 := quoted(names[0])
		to, err2 := quoted(names[1])
		return Call{Kind: Rename, Path: string(from), To: string(to)}, true, errors.Join(err1, err2)
	case "unlink", "unlinkat":
		i := slices.IndexFunc(args, func(a string) bool { return strings.HasPrefix(a, `"`) })
		path, err := quoted(args[i])
		return Call{Kind: Remove, Path: string(path)}, err == nil && filepath.IsAbs(string(path)), err
	}
	return c, false, nil
}

func parseOpen(name string, args []string) (Call, bool, error) {
	if name == "openat" {
		args = args[1:]
	}
	path, err := quoted(args[0])
	flags := strings.Split(args[1], "|")
	if !slices.Contains(flags, "O_CREAT") {
		return Call{}, false, err
	}
	c := Call{Kind: Create, Path: string(path), Offset: -1}
	if slices.Contains(flags, "O_TRUNC") {
		c.Offset = 0
	}
	return c, err == nil, err
}

func parseWrite(name string, args []string) (Call, bool, error) {
	path, err := descriptor(args[0])
	if err != nil {
		return Call{}, false, err
	}
	data, err := quoted(args[1])
	c := Call{Kind: Write, Path: path, Data: data, Offset: -1}
	if err == nil && name == "pwrite64" {
		c.Offset, err = strconv.ParseInt(args[3], 0, 64)
	}
	return c, err == nil, err
}

// descriptor returns the path in 5</path>, which -xx does not write in
// hexadecimal, or may.
func descriptor(text string) (string, error) {
	_, path, ok := strings.Cut(text, "<")
	path, ok2 := strings.CutSuffix(strings.TrimSuffix(path, "(deleted)"), ">")
	if !ok || !ok2 {
		return "", fmt.Errorf("descriptor %q", text)
	}
	if strings.HasPrefix(path, `\x`) {
		b, err := unhex([]byte(path))
		return string(b), err
	}
	return path, nil
}

func quoted(text string) ([]byte, error) {
	if strings.HasSuffix(text, `"...`) {
		return nil, errors.New("data are cut: strace -s is too small")
	}
	return unhex([]byte(strings.Trim(text, `"`)))
}

// unhex reads \x12\x34.
func unhex(b []byte) ([]byte, error) {
	b = bytes.ReplaceAll(b, []byte(`\x`), nil)
	out := make([]byte, len(b)/2)
	if _, err := hex.Decode(out, b); err != nil {
		return nil, fmt.Errorf("reading data: %w", err)
	}
	return out, nil
}
