package broker_test

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/audit/audittest"
	"github.com/inkan-project/inkan/daemon/internal/broker"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/token"
)

// disks is what outlives a start: the journal and the log.
type disks struct {
	journal pinguard.DirFS
	log     *audittest.Memory
}

// start opens both as a start does. The broker has no cards: it only recovers.
func (d disks) start(t *testing.T) (*broker.Broker, *pinguard.Guard, *audit.Log, pinguard.Recovery) {
	t.Helper()
	log, err := audit.Open(t.Context(), audit.Config{Storage: d.log, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	guard, found, err := pinguard.Open(pinguard.Config{FS: d.journal, Now: time.Now, Slots: 64})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = guard.Close() })
	b := broker.New(broker.Config{Guard: guard, Log: log, Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
	return b, guard, log, found
}

// signed returns disks after a start and a signature with a PIN.
func signed(t *testing.T) disks {
	t.Helper()
	d := disks{pinguard.DirFS(t.TempDir()), &audittest.Memory{}}
	h := newHouse(t, func(c *broker.Config) {
		started, guard, log, found := d.start(t)
		if err := started.Recover(t.Context(), found, "first"); err != nil {
			t.Fatal(err)
		}
		c.Guard, c.Log = guard, log
	})
	if _, err := h.sign(t, "9a"); err != nil {
		t.Fatal(err)
	}
	return d
}

// cut returns the disks with the newest rows of the log lost.
func (d disks) cut(t *testing.T, rows int) disks {
	t.Helper()
	less := &audittest.Memory{}
	all := d.log.Rows()
	for _, row := range all[:len(all)-rows] {
		if err := less.Append(t.Context(), row); err != nil {
			t.Fatal(err)
		}
	}
	return disks{d.journal, less}
}

func TestTheJournalKnowsHowLongTheLogIs(t *testing.T) {
	const crash = "a crash came while a record was being written"
	tests := map[string]struct {
		lost  int
		kind  token.Kind // "" = it starts
		crash bool       // and says so
	}{
		"nothing was lost": {0, "", false},
		"a crash lost the row of the barrier that was under way": {1, "", true},
		"one row more is gone": {2, token.KindDatabaseDamaged, false},
		"all rows are gone":    {3, token.KindDatabaseDamaged, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := signed(t).cut(t, tt.lost)
			before := len(d.log.Rows())
			b, _, log, found := d.start(t)
			err := b.Recover(t.Context(), found, "second")
			if tt.kind != "" {
				if token.KindOf(err) != tt.kind || len(d.log.Rows()) != before {
					t.Errorf("Recover: %v with %d rows written, want %s and none", err, len(d.log.Rows())-before, tt.kind)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			records, _, err := log.List(t.Context(), audit.Filter{})
			if err != nil {
				t.Fatal(err)
			}
			said := slices.ContainsFunc(records, func(r audit.Record) bool { return strings.HasPrefix(r.Detail, crash) })
			if said != tt.crash {
				t.Errorf("log says that a crash came: %t, want %t", said, tt.crash)
			}
			// The next start finds all in order again.
			if b, _, _, found = d.start(t); b.Recover(t.Context(), found, "third") != nil {
				t.Error("the start after it fails")
			}
		})
	}
}

func TestAnIntentWithoutAResultIsClosedAsUnknownOnce(t *testing.T) {
	d := disks{pinguard.DirFS(t.TempDir()), &audittest.Memory{}}
	h := newHouse(t, func(c *broker.Config) {
		_, guard, log, _ := d.start(t)
		c.Guard, c.Log = guard, log
	})
	d.log.Fault = func(r audit.Row) (bool, error) { // the power goes before the result
		if r.Kind == audit.KindResult {
			return false, errFault
		}
		return true, nil
	}
	if _, err := h.sign(t, "9a"); !errors.Is(err, errFault) {
		t.Fatal(err)
	}
	d.log.Fault = nil
	for range 2 {
		b, _, _, found := d.start(t)
		if err := b.Recover(t.Context(), found, "again"); err != nil {
			t.Fatal(err)
		}
	}
	_, _, log, _ := d.start(t)
	records, _, err := log.List(t.Context(), audit.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	var outcomes []audit.Outcome
	for _, r := range records {
		if r.Kind == audit.KindResult {
			outcomes = append(outcomes, r.Outcome)
		}
	}
	if !slices.Equal(outcomes, []audit.Outcome{audit.OutcomeUnknown}) {
		t.Errorf("outcomes %v, want UNKNOWN once", outcomes)
	}
}

func TestATryWhoseIntentWasNotWrittenIsSpentAndSettled(t *testing.T) {
	d := disks{pinguard.DirFS(t.TempDir()), &audittest.Memory{}}
	h := newHouse(t, func(c *broker.Config) {
		_, guard, log, _ := d.start(t)
		c.Guard, c.Log = guard, log
	})
	card := h.card().Identity.Card
	d.log.Fault = func(audit.Row) (bool, error) { return false, errFault }
	if _, err := h.sign(t, "9a"); !errors.Is(err, errFault) {
		t.Fatal(err)
	}
	d.log.Fault = nil
	b, guard, _, found := d.start(t)
	if left := guard.Belief(pinguard.Account{Card: card, Secret: token.SecretPIN, Limit: 10, OnCard: token.Tries{}}).Left; left != 9 || len(found.Dangling) != 0 {
		t.Errorf("%d tries left and %d without a verdict, want 9 and none", left, len(found.Dangling))
	}
	if err := b.Recover(t.Context(), found, "second"); err != nil {
		t.Errorf("Recover: %v", err)
	}
}

// Two crashes in a row, each of which kept the slot of a record from the disk,
// are two crashes and no journal that was cut.
func TestAStartKnowsWhatTheLogHasBeforeItWritesOn(t *testing.T) {
	d := signed(t)
	_, guard, log, _ := d.start(t)
	if _, err := log.Append(t.Context(), audit.Record{Kind: audit.KindEvent}); err != nil { // its slot is lost
		t.Fatal(err)
	}
	_ = guard.Close()
	b, guard, log, found := d.start(t)
	if found.LastAudit.Rows+1 != log.Count() {
		t.Fatalf("the journal knows of %d records, the log has %d", found.LastAudit.Rows, log.Count())
	}
	d.log.Fault = func(audit.Row) (bool, error) { return false, errors.New("crash") }
	if err := b.Recover(t.Context(), found, "second"); err == nil {
		t.Fatal("the log was written")
	}
	d.log.Fault = nil
	_ = guard.Close()
	if _, _, log, found = d.start(t); found.LastAudit.Rows < log.Count() {
		t.Errorf("the journal knows of %d records, the log has %d", found.LastAudit.Rows, log.Count())
	}
}
