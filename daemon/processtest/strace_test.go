package processtest_test

import (
	"bufio"
	"context"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// call is a system call of inkand, as strace shows it. What it was given never
// goes to a file.
type call struct {
	name   string
	target string // file or socket of the first argument
	data   []byte // the first of what is written; nil if the kernel shows it to nobody
	size   int    // of what is written
}

// event is the begin of a call, or its end.
type event struct {
	call *call
	ends bool
	ok   bool // it ends well
}

// straceArgs: every system call by which something leaves or lasts; text in
// hexadecimal; so many bytes that the frames of an answer are seen.
func straceArgs(pid int) []string {
	const calls = "write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,sendmmsg,fsync,fdatasync,sync_file_range,msync,sync,syncfs"
	return []string{"-f", "-yy", "-xx", "-s", "64", "-e", "trace=" + calls, "-e", "signal=none", "-p", strconv.Itoa(pid)}
}

// trace returns what inkand asks the kernel for while something is done.
func (b *bench) trace(do func()) []event {
	b.Helper()
	cmd := b.pcscd.Command(context.WithoutCancel(b.Context()), "strace", straceArgs(b.inkand.Process.Pid)...)
	out, in, err := os.Pipe()
	b.check(err)
	defer out.Close()
	cmd.Stderr = in
	p := b.start(cmd)
	b.check(in.Close())
	attached, lines := make(chan struct{}), make(chan []string)
	go func() {
		var all []string
		for s := bufio.NewScanner(out); s.Scan(); {
			if all = append(all, s.Text()); len(all) == 1 { // strace: Process 1 attached with 7 threads
				close(attached)
			}
		}
		lines <- all
	}()
	select {
	case <-attached:
	case <-p.exited:
		b.Fatalf("strace ended at once: %v", <-lines)
	}
	do()
	b.end(p, syscall.SIGINT)
	return events(<-lines)
}

var (
	begins  = regexp.MustCompile(`^(?:\[pid +(\d+)\] )?(\w+)\(\d+<((?:->|[^>])*)>(.*)`)
	resumes = regexp.MustCompile(`^(?:\[pid +(\d+)\] )?<\.\.\. \w+ resumed>.*= (-?\d+)`)
	quoted  = regexp.MustCompile(`^, "((?:\\x[0-9a-f]{2})*)"(?:\.\.\.)?, (\d+)`)
	hidden  = regexp.MustCompile(`^, 0x[0-9a-f]+, (\d+)`)
	result  = regexp.MustCompile(`\) += (-?\d+)`)
	escaped = regexp.MustCompile(`\\x[0-9a-f]{2}`)
)

// events reads lines of strace. A call that others come between is shown in two
// parts, by thread.
func events(lines []string) []event {
	var all []event
	open := map[string]*call{}
	for _, line := range lines {
		if m := resumes.FindStringSubmatch(line); m != nil {
			if c := open[m[1]]; c != nil {
				all = append(all, event{call: c, ends: true, ok: !strings.HasPrefix(m[2], "-")})
				delete(open, m[1])
			}
			continue
		}
		m := begins.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		c := &call{name: m[2], target: unescape(m[3])}
		if q := quoted.FindStringSubmatch(m[4]); q != nil {
			c.data = []byte(unescape(q[1]))
			c.size, _ = strconv.Atoi(q[2])
		} else if h := hidden.FindStringSubmatch(m[4]); h != nil {
			c.size, _ = strconv.Atoi(h[1])
		}
		all = append(all, event{call: c})
		if r := result.FindStringSubmatch(m[4]); r != nil {
			all = append(all, event{call: c, ends: true, ok: !strings.HasPrefix(r[1], "-")})
		} else {
			open[m[1]] = c
		}
	}
	return all
}

func unescape(text string) string {
	return escaped.ReplaceAllStringFunc(text, func(e string) string {
		n, _ := strconv.ParseUint(e[2:], 16, 8) // two digits, says the pattern
		return string([]byte{byte(n)})
	})
}
