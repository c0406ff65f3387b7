package processtest_test

import (
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/token"
)

// observer is an inkand that says of each page that held a secret what is left
// in it when it is done with, and does not give it back: where the kernel shows
// such pages (mlock), a search finds what is in them.
func observer() []edit {
	return []edit{{
		"token/pinpage/pinpage.go",
		"\t\ts.released(page)\n\t}\n\t_ = unix.Munmap(page)\n",
		"\t\ts.released(page)\n\t}\n\tn := 0\n\tfor _, b := range page {\n\t\tif b != 0 {\n\t\t\tn++\n\t\t}\n\t}\n\tprintln(\"" + pageDone + "\", n)\n",
	}}
}

// pageDone is what an observer writes before the number of bytes not zero.
const pageDone = "done with a page; bytes that are not zero:"

// leaky is an observer that copies each secret to the heap, wipes no page and
// may dump core.
func leaky() []edit {
	const page, pin, process = "token/pinpage/pinpage.go", "token/pin.go", "daemon/process.go"
	return append(observer(),
		edit{page, "// Source gives pages of one kind.", "var copies [][]byte\n\n// Source gives pages of one kind."},
		edit{page, "\tpin, err := token.NewPIN(", "\tcopies = append(copies, append([]byte(nil), page[token.PINHeadroom:][:length]...))\n\tpin, err := token.NewPIN("},
		edit{page, "\tclear(page)\n\truntime.KeepAlive(page)\n\tif s.released", "\truntime.KeepAlive(page)\n\tif s.released"},
		edit{pin, "\tclear(s.page)\n", ""},
		edit{process, "&unix.Rlimit{})", "&unix.Rlimit{Cur: ^uint64(0), Max: ^uint64(0)})"},
		edit{process, "unix.PR_SET_DUMPABLE, 0,", "unix.PR_SET_DUMPABLE, 1,"},
	)
}

// observed returns what an observer wrote.
func (b *bench) observed() (pages, zero int) {
	b.Helper()
	for line := range strings.Lines(b.log()) {
		if rest, ok := strings.CutPrefix(line, pageDone); ok {
			pages++
			if strings.TrimSpace(rest) == "0" {
				zero++
			}
		}
	}
	return pages, zero
}

func TestNoSecretIsFoundAnywhereAfterItsUseOrACrash(t *testing.T) {
	cli := build(t, "./client/cmd/inkan")
	tests := []struct {
		name, memory string
		edits        []edit
		inUse        int // how often the PIN is seen while it is in use
		nightly      bool
	}{
		{"as it is released", "", nil, 0, false},
		{"observed, in locked memory", "mlock", observer(), 1, false},
		{"as it is released, in locked memory", "mlock", nil, 1, true},
		{"observed, in secret memory", "memfd_secret", observer(), 0, true},
	}
	for _, tt := range tests {
		if tt.nightly && !nightly() {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			program := build(t, "./daemon/cmd/inkand", tt.edits...)
			twice(t, func(t *testing.T) []found {
				a := newAviary(t, program, cli, tt.memory)
				a.coresHere()
				a.useAll()
				all := a.everywhere()
				if pages, zero := a.observed(); tt.edits != nil && (pages < 12 || zero != pages) {
					t.Errorf("%d of %d pages were zero when they were done with, want all of at least 12", zero, pages)
				}
				if in := a.crashInUse(); len(in) != tt.inUse {
					t.Errorf("while the PIN is in use it is found %d times, want %d: %v", len(in), tt.inUse, in)
				}
				all = append(all, a.everywhere()...)
				a.serve(program, a.card, a.config)
				person := a.asker(a.self)
				person.do(order{Do: "sign", Card: a.card, Slot: "9a", PIN: a.unlocked.digits}, "")
				person.do(order{Do: "stop"}, "")
				all = append(all, a.everywhere()...)
				a.crash(syscall.SIGSEGV)
				return append(all, a.everywhere()...)
			})
		})
	}
}

// twice looks again with other secrets where all that was found may be there by
// chance: four bytes of nothing but digits come up once in some hundred runs.
func twice(t *testing.T, look func(*testing.T) []found) {
	t.Helper()
	for _, name := range []string{"first", "again"} {
		var all []found
		t.Run(name, func(t *testing.T) { all = look(t) })
		for _, f := range all {
			t.Logf("found: %s", f)
		}
		switch {
		case len(all) == 0 || t.Failed():
			return
		case slices.ContainsFunc(all, func(f found) bool { return !f.form.short }) || name == "again":
			t.Error("secrets were copied")
			return
		}
	}
}

// TestACopyOfASecretIsFound: otherwise the tests that find none say nothing.
func TestACopyOfASecretIsFound(t *testing.T) {
	a := newAviary(t, build(t, "./daemon/cmd/inkand", leaky()...), "", "mlock")
	person := a.asker(a.self)
	person.do(order{Do: "change", Card: a.card, PIN: a.pin.digits, New: a.changed.digits}, "")
	if pages, zero := a.observed(); pages < 4 || zero > 1 { // one was only tried, at the start
		t.Errorf("%d pages, %d of them zero; want at least 4, and one", pages, zero)
	}
	places := map[string]int{}
	for _, f := range a.everywhere() {
		place := "elsewhere"
		switch f.address % int64(os.Getpagesize()) {
		case token.PINHeadroom, token.PINHeadroom + 8: // the second of a command: each is padded to 8
			place = "page"
		}
		places[place+", "+f.form.canary.name]++
	}
	for _, want := range []string{"elsewhere, PIN", "elsewhere, new PIN", "page, PIN", "page, new PIN"} {
		if places[want] == 0 {
			t.Errorf("%s: not found, but %v", want, places)
		}
	}
	if status := a.end(a.inkand, syscall.SIGABRT); !status.CoreDump() {
		t.Errorf("it dumped no core: %v", status)
	}
	a.readsCores()
}

// TestASecretInATraceIsFound: that none is found in a support bundle says
// nothing unless one would be.
func TestASecretInATraceIsFound(t *testing.T) {
	open := edit{"pcsc/apdu/redact.go", "\t\treturn header + masked\n", "\t\treturn hex.EncodeToString(command)\n"}
	a := newAviary(t, build(t, "./daemon/cmd/inkand", open), build(t, "./client/cmd/inkan"), "")
	a.asker(a.self).do(order{Do: "verify", Card: a.card, PIN: a.pin.digits}, "")
	a.inkan("", "support-bundle", a.path("said/bundle"))
	s := a.search()
	s.files(t, a.path("said"))
	if len(s.found) == 0 {
		t.Error("the PIN stands in the commands to cards of the bundle, and is not found")
	}
	info, err := os.Stat(a.path("said/bundle"))
	a.check(err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the bundle has the permissions %v", info.Mode())
	}
}

// readsCores checks that the search finds secrets in cores, where this computer
// puts them beside the program (core(5), core_pattern).
func (a *aviary) readsCores() {
	a.Helper()
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	a.check(err)
	if strings.ContainsAny(string(pattern), "|/") {
		a.Logf("cores go elsewhere here: %s", pattern)
		return
	}
	s := a.search()
	s.files(a.T, a.path("cores"))
	if len(s.found) == 0 {
		a.Error("a core was dumped by an inkand with copies of secrets, and none is found in it")
	}
}

// TestASecretThatAnotherProgramLeavesInPCSCDIsFound: pcscd keeps the last
// command of a program. That no secret of inkand's is found there is because it
// sends more after it.
func TestASecretThatAnotherProgramLeavesInPCSCDIsFound(t *testing.T) {
	b := newBench(t)
	c := newCanary("PIN")
	b.insert(c.digits, "")
	other := pcsc.NewService(pcsc.Config{})
	t.Cleanup(func() { _ = other.Close() })
	var card pcsc.Card
	b.poll("pcscd never saw the card", func() (ok bool) {
		var err error
		card, err = other.Connect(t.Context(), b.pcscd.Reader("Inkan Test").Name)
		return err == nil
	})
	transmit(t, card, []byte{0x00, 0xA4, 0x04, 0x00, 0x05, 0xA0, 0x00, 0x00, 0x03, 0x08})
	transmit(t, card, append([]byte{0x00, 0x20, 0x00, 0x80, 0x08}, c.digits...))
	s := newSearch(c)
	s.memory(t, "pcscd", b.pcscd.PID())
	if len(s.found) == 0 {
		t.Error("the PIN in another program's last command is not found in pcscd")
	}
	if err := card.Disconnect(pcsc.Reset); err != nil {
		t.Error(err)
	}
}

// transmit sends a command that must succeed.
func transmit(t *testing.T, card pcsc.Card, command []byte) {
	t.Helper()
	answer, err := card.Transmit(t.Context(), command)
	if err != nil || len(answer) < 2 || answer[len(answer)-2] != 0x90 {
		t.Fatalf("the card answers % X, %v to % X", answer, err, command[:4])
	}
}
