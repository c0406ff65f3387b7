package processtest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// record is one of the two files that must last.
type record struct {
	begun, ended int // calls that write to it
	synced       int // of these, how many had ended when a sync began that ended well
	syncing      int // as synced, of the sync that is under way
}

// barriers holds what a signature must do in which order.
type barriers struct {
	records  map[string]*record
	secrets  int // commands with a secret that left
	answers  int // after the last of them
	problems []string
}

// Files in the state directory.
const (
	journalFile = "pin-tries.journal"
	logFile     = "inkan.db-wal"
)

func newBarriers() *barriers {
	return &barriers{records: map[string]*record{journalFile: {}, logFile: {}}}
}

// checkOrder goes through all that inkand did and returns the rest for a test
// to look at.
func checkOrder(events []event) *barriers {
	b := newBarriers()
	for _, e := range events {
		for name, r := range b.records {
			if strings.HasSuffix(e.call.target, "/"+name) {
				r.see(e)
			}
		}
		switch {
		case e.ends:
		case e.call.carriesSecret():
			b.barrier("the secret left")
			b.secrets++
			b.records = newBarriers().records
		case e.call.answers() && b.secrets > 0 && b.answers == 0:
			b.barrier("the answer left")
			b.answers++
		}
	}
	return b
}

// see takes in what happens to a record.
func (r *record) see(e event) {
	switch isSync := strings.Contains(e.call.name, "sync"); {
	case isSync && !e.ends:
		r.syncing = r.ended
	case isSync && e.ok:
		r.synced = max(r.synced, r.syncing)
	case !isSync && !e.ends:
		r.begun++
	case !isSync:
		r.ended++
	}
}

// barrier notes each record that is not on the disk now.
func (b *barriers) barrier(moment string) {
	for _, name := range []string{journalFile, logFile} {
		switch r := b.records[name]; {
		case r.begun == 0:
			b.problems = append(b.problems, fmt.Sprintf("%s before anything was written to %s", moment, name))
		case r.synced < r.begun:
			b.problems = append(b.problems, fmt.Sprintf("%s before %s was synced", moment, name))
		}
	}
}

// carriesSecret reports whether this is a command with a PIN on its way to
// pcscd, 5 bytes and 8 for each secret: VERIFY, CHANGE REFERENCE DATA or RESET
// RETRY COUNTER (ISO/IEC 7816-4 section 5.5). A page of memfd_secret is not
// shown by the kernel.
func (c *call) carriesSecret() bool {
	if c.name != "sendto" || c.size != 13 && c.size != 21 {
		return false
	}
	return len(c.data) == 0 || slices.Contains([]byte{0x20, 0x24, 0x2C}, c.data[1])
}

// answers reports whether this is the begin of an answer of the API: a HEADERS
// frame (RFC 9113 section 6.2) among the frames that are written to a connection
// on a socket with a name. Each frame has a header of 9 bytes (section 4.1):
// length, type, flags, stream.
func (c *call) answers() bool {
	if c.name != "write" || !strings.HasPrefix(c.target, "UNIX-STREAM:[") || !strings.Contains(c.target, `"`) {
		return false
	}
	for d := c.data; len(d) >= 9; {
		const headers = 0x01
		if d[3] == headers {
			return true
		}
		d = d[min(len(d), 9+int(d[0])<<16+int(d[1])<<8+int(d[2])):]
	}
	return false
}

// doings are what spends tries.
func doings(cardID string) map[string]struct {
	order  order
	reason string
} {
	return map[string]struct {
		order  order
		reason string
	}{
		"a signature": {order{Do: "sign", Card: cardID, Slot: "9a", PIN: "123456"}, ""},
		"a wrong PIN": {order{Do: "verify", Card: cardID, PIN: "918273"}, "PIN_WRONG"},
		"a change":    {order{Do: "change", Card: cardID, PIN: "123456", New: "918274"}, ""},
		"an unlock":   {order{Do: "unlock", Card: cardID, Code: "12345678", New: "918275"}, ""},
	}
}

func TestTheRecordsAreOnTheDiskBeforeASecretAndBeforeAnAnswerLeave(t *testing.T) {
	b := newBench(t)
	id := b.insert("", "")
	program := build(t, "./daemon/cmd/inkand")
	b.serve(program, id, config{})
	person := b.asker(b.self)
	for _, name := range []string{"a signature", "a wrong PIN", "a change", "an unlock"} {
		d := doings(id)[name]
		got := checkOrder(b.trace(func() { person.do(d.order, d.reason) }))
		if len(got.problems) > 0 {
			t.Errorf("%s: %q", name, got.problems)
		}
		if got.secrets != 1 || got.answers != 1 {
			t.Errorf("%s: %d secrets and %d answers were seen to leave, want one each", name, got.secrets, got.answers)
		}
	}
}

// TestABrokenOrderIsSeen: otherwise the test that sees none says nothing. This
// inkand does not wait for the sync of the journal, has a log that is not synced
// at each commit, and answers without recording what the card said.
func TestABrokenOrderIsSeen(t *testing.T) {
	program := build(
		t, "./daemon/cmd/inkand",
		edit{"daemon/internal/pinguard/fs.go", "	if err := syscall.Fdatasync(int(f.Fd())); err != nil {", "	if err := error(nil); err != nil {"},
		edit{"daemon/internal/store/writer.go", `fmt.Sprintf("synchronous(2);`, `fmt.Sprintf("synchronous(1);`},
		edit{"daemon/internal/store/writer.go", `journal != "wal" || synchronous != 2`, `journal != "wal" || synchronous > 2`},
		edit{
			"daemon/internal/broker/operation.go", "	written, err := op.b.ledger.barrier(rec,",
			"	none := func(audit.Record, func(pinguard.AuditMark) error) (audit.Record, error) { return rec, nil }\n	written, err := none(rec,",
		},
	)
	b := newBench(t)
	id := b.insert("", "")
	b.serve(program, id, config{})
	person := b.asker(b.self)
	d := doings(id)["a signature"]
	got := checkOrder(b.trace(func() { person.do(d.order, d.reason) }))
	want := []string{
		"the secret left before pin-tries.journal was synced",
		"the secret left before inkan.db-wal was synced",
		"the answer left before anything was written to pin-tries.journal",
		"the answer left before anything was written to inkan.db-wal",
	}
	if diff := cmp.Diff(want, got.problems); diff != "" {
		t.Errorf("problems that were seen (-want +got):\n%s", diff)
	}
}
