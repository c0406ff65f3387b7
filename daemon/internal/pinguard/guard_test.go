package pinguard

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/inkan-project/inkan/token"
)

const (
	cardA = token.CardID("piv-aa")
	cardB = token.CardID("piv-bb")
)

// freely spends tries without the limits on who may.
var freely = Who{Free: true}

func wallClock() time.Time { return time.Unix(1_700_000_000, 0) }

func open(t *testing.T, fsys FS) (*Guard, Recovery) {
	t.Helper()
	g, rec, err := Open(Config{FS: fsys, Now: wallClock, Slots: 64})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { _ = g.Close() })
	return g, rec
}

// try spends one try and settles it.
func spend(t *testing.T, g *Guard, card token.CardID, verdict token.VerdictKind) {
	t.Helper()
	a, err := g.Debit(Account{card, token.SecretPIN, 10, token.Tries{}}, freely, AuditMark{})
	if err != nil {
		t.Fatalf("Debit: %v", err)
	}
	if err := g.Settle(a, token.Verdict{Kind: verdict}, AuditMark{}); err != nil {
		t.Fatalf("Settle: %v", err)
	}
}

func left(g *Guard, card token.CardID) int {
	return g.Belief(Account{card, token.SecretPIN, 10, token.Tries{}}).Left
}

func TestTenWrongLockAndRestartsChangeNothing(t *testing.T) {
	dir := DirFS(t.TempDir())
	for i := range 10 {
		g, _ := open(t, dir)
		if got, want := left(g, cardA), 10-i; got != want {
			t.Fatalf("before try %d: left %d, want %d", i+1, got, want)
		}
		spend(t, g, cardA, token.VerdictWrong)
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
	}
	g, _ := open(t, dir)
	if b := g.Belief(Account{cardA, token.SecretPIN, 10, token.KnownTries(10)}); b.Left != 0 || b.State != token.CardLocked {
		t.Errorf("after ten wrong tries: %+v, want locked whatever the card says", b)
	}
	if _, err := g.Debit(Account{cardA, token.SecretPIN, 10, token.KnownTries(10)}, freely, AuditMark{}); token.KindOf(err) != token.KindCardLocked {
		t.Errorf("eleventh Debit: %v, want CARD_LOCKED", err)
	}
	if left(g, cardB) != 10 {
		t.Error("another card lost tries")
	}
}

func TestTheTenthTryMayStillBeRight(t *testing.T) {
	g, _ := open(t, DirFS(t.TempDir()))
	for range 9 {
		spend(t, g, cardA, token.VerdictWrong)
	}
	spend(t, g, cardA, token.VerdictOK)
	if got := left(g, cardA); got != 10 {
		t.Errorf("left %d after nine wrong and one right, want 10", got)
	}
}

func TestBelief(t *testing.T) {
	tests := map[string]struct {
		wrong     int
		limit     int
		onCard    token.Tries
		left      int
		confirmed bool
		state     token.CardState
	}{
		"new card, card silent about tries": {0, 10, token.Tries{}, 10, false, token.CardReady},
		"card agrees":                       {3, 10, token.KnownTries(7), 7, true, token.CardReady},
		"card says less":                    {0, 10, token.KnownTries(4), 4, true, token.CardReady},
		"card says more is not believed":    {8, 10, token.KnownTries(10), 2, false, token.CardLow},
		"four left is ready":                {6, 10, token.Tries{}, 4, false, token.CardReady},
		"three left is low":                 {7, 10, token.Tries{}, 3, false, token.CardLow},
		"card says none":                    {0, 10, token.KnownTries(0), 0, true, token.CardLocked},
		"profile lowers the limit":          {0, 5, token.Tries{}, 5, false, token.CardReady},
		"profile cannot raise the limit":    {0, 15, token.KnownTries(15), 10, false, token.CardReady},
		"limit three is low from the start": {0, 3, token.Tries{}, 3, false, token.CardLow},
		"used beyond a lowered limit":       {6, 5, token.Tries{}, 0, false, token.CardLocked},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g, _ := open(t, DirFS(t.TempDir()))
			for range tt.wrong {
				spend(t, g, cardA, token.VerdictWrong)
			}
			b := g.Belief(Account{cardA, token.SecretPIN, tt.limit, tt.onCard})
			if b.Left != tt.left || b.Confirmed != tt.confirmed || b.State != tt.state {
				t.Errorf("got %+v, want left %d confirmed %t state %d", b, tt.left, tt.confirmed, tt.state)
			}
		})
	}
}

func TestVerdicts(t *testing.T) {
	tests := map[string]struct {
		verdict token.VerdictKind
		left    int
	}{
		"only success gives tries back":      {token.VerdictOK, 10},
		"wrong keeps the try":                {token.VerdictWrong, 6},
		"no verdict keeps the try":           {token.VerdictNone, 6},
		"blocked locks whatever was counted": {token.VerdictBlocked, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := DirFS(t.TempDir())
			g, _ := open(t, dir)
			for range 3 {
				spend(t, g, cardA, token.VerdictWrong)
			}
			spend(t, g, cardA, tt.verdict)
			if got := left(g, cardA); got != tt.left {
				t.Errorf("left %d, want %d", got, tt.left)
			}
			_ = g.Close()
			again, _ := open(t, dir)
			if got := left(again, cardA); got != tt.left {
				t.Errorf("left %d after a restart, want %d", got, tt.left)
			}
		})
	}
}

func TestSecretsHaveTheirOwnTries(t *testing.T) {
	g, _ := open(t, DirFS(t.TempDir()))
	spend(t, g, cardA, token.VerdictWrong)
	if got := g.Belief(Account{cardA, token.SecretUnlockCode, 10, token.Tries{}}).Left; got != 10 {
		t.Errorf("unlock tries left %d after a wrong PIN, want 10", got)
	}
}

func TestAnAttemptLeftByACrashCountsAsSpent(t *testing.T) {
	dir := DirFS(t.TempDir())
	g, _ := open(t, dir)
	a, err := g.Debit(Account{cardA, token.SecretPIN, 10, token.Tries{}}, freely, AuditMark{Rows: 5, Own: 1})
	if err != nil {
		t.Fatal(err)
	}
	_ = g.Close()
	for range 3 { // found once, counted once
		g, rec := open(t, dir)
		if got := left(g, cardA); got != 9 {
			t.Errorf("left %d, want 9", got)
		}
		if a != nil && (len(rec.Dangling) != 1 || rec.Dangling[0].Attempt != a.Number() || rec.LastAudit != (AuditMark{5, 1})) {
			t.Errorf("recovery %+v, want attempt %d and audit mark 5/1", rec, a.Number())
		}
		a = nil
		_ = g.Close()
	}
}

func TestSettleWantsTheOpenAttempt(t *testing.T) {
	g, _ := open(t, DirFS(t.TempDir()))
	a, err := g.Debit(Account{cardA, token.SecretPIN, 10, token.Tries{}}, freely, AuditMark{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Debit(Account{cardA, token.SecretPIN, 10, token.Tries{}}, freely, AuditMark{}); err == nil {
		t.Error("a second attempt was handed out while the first has no verdict")
	}
	if err := g.Settle(a, token.Verdict{Kind: token.VerdictOK}, AuditMark{}); err != nil {
		t.Fatal(err)
	}
	if err := g.Settle(a, token.Verdict{Kind: token.VerdictOK}, AuditMark{}); err == nil {
		t.Error("an attempt was settled twice")
	}
	forged := token.NewAttempt(cardA, token.SecretPIN, 99)
	if err := g.Settle(forged, token.Verdict{Kind: token.VerdictOK}, AuditMark{}); err == nil {
		t.Error("a forged attempt was settled")
	}
}

func TestLowerTakesOverOnlyALowerCount(t *testing.T) {
	dir := DirFS(t.TempDir())
	g, _ := open(t, dir)
	spend(t, g, cardA, token.VerdictWrong)
	for _, tt := range []struct {
		onCard  token.Tries
		lowered bool
		left    int
	}{
		{token.Tries{}, false, 9},
		{token.KnownTries(10), false, 9},
		{token.KnownTries(9), false, 9},
		{token.KnownTries(4), true, 4},
		{token.KnownTries(9), false, 4},
		{token.KnownTries(0), true, 0},
	} {
		lowered, err := g.Lower(Account{cardA, token.SecretPIN, 10, tt.onCard}, AuditMark{})
		if err != nil || lowered != tt.lowered || left(g, cardA) != tt.left {
			t.Errorf("card says %v: lowered %t left %d err %v, want %t %d", tt.onCard, lowered, left(g, cardA), err, tt.lowered, tt.left)
		}
	}
	_ = g.Close()
	again, _ := open(t, dir)
	if got := left(again, cardA); got != 0 {
		t.Errorf("left %d after a restart, want 0", got)
	}
}

func TestACompactionKeepsEveryCount(t *testing.T) {
	dir := DirFS(t.TempDir())
	g, _ := open(t, dir)
	for range 4 {
		spend(t, g, cardB, token.VerdictWrong)
	}
	a, err := g.Debit(Account{cardA, token.SecretUnlockCode, 10, token.Tries{}}, freely, AuditMark{})
	if err != nil {
		t.Fatal(err)
	}
	before := g.journal.next
	for range 200 {
		if err := g.Mark(AuditMark{}); err != nil {
			t.Fatal(err)
		}
	}
	spend(t, g, cardA, token.VerdictWrong)
	if g.journal.capacity != 64 || g.journal.next < before+202 {
		t.Errorf("journal has %d slots and number %d: was it compacted?", g.journal.capacity, g.journal.next)
	}
	if err := g.Settle(a, token.Verdict{Kind: token.VerdictWrong}, AuditMark{}); err != nil {
		t.Errorf("settling an attempt from before the compaction: %v", err)
	}
	_ = g.Close()
	again, rec := open(t, dir)
	if left(again, cardA) != 9 || left(again, cardB) != 6 || rec.Unreadable != 0 {
		t.Errorf("left %d and %d, want 9 and 6; recovery %+v", left(again, cardA), left(again, cardB), rec)
	}
	if got := again.Belief(Account{cardA, token.SecretUnlockCode, 10, token.Tries{}}).Left; got != 9 {
		t.Errorf("unlock tries left %d, want 9", got)
	}
}

func TestConcurrentDebitsOfManyCards(t *testing.T) {
	g, _ := open(t, DirFS(t.TempDir()))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			card := token.CardID(fmt.Sprintf("piv-%d", i))
			for range 5 {
				a, err := g.Debit(Account{card, token.SecretPIN, 10, token.Tries{}}, freely, AuditMark{})
				if err != nil {
					t.Error(err)
					return
				}
				if err := g.Settle(a, token.Verdict{Kind: token.VerdictWrong}, AuditMark{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for i := range 8 {
		if got := left(g, token.CardID(fmt.Sprintf("piv-%d", i))); got != 5 {
			t.Errorf("card %d: left %d, want 5", i, got)
		}
	}
}

func TestRenewStartsWithTheLastThreeTries(t *testing.T) {
	path := t.TempDir()
	dir := DirFS(path)
	g, _ := open(t, dir)
	spend(t, g, cardA, token.VerdictOK)
	_ = g.Close()
	if kept, err := Renew(dir, wallClock(), 0, 1); !errors.Is(err, ErrHealthy) || kept != "" {
		t.Fatalf("Renew of a journal in order: %q, %v; want ErrHealthy", kept, err)
	}
	if g, _ = open(t, dir); left(g, cardA) != 10 {
		t.Fatalf("left %d after Renew refused, want 10", left(g, cardA))
	}
	_ = g.Close()
	if err := os.Truncate(filepath.Join(path, journalName), 100); err != nil {
		t.Fatal(err)
	}
	kept, err := Renew(dir, wallClock(), 7, 1)
	if err != nil || kept == "" {
		t.Fatalf("Renew: %q, %v", kept, err)
	}
	g, rec, err := Open(Config{FS: dir, Now: wallClock, Records: 7})
	if err != nil {
		t.Fatal(err)
	}
	if rec.Unreadable != 0 || left(g, cardA) != 3 || left(g, cardB) != 3 {
		t.Errorf("left %d and %d, want 3; recovery %+v", left(g, cardA), left(g, cardB), rec)
	}
	spend(t, g, cardA, token.VerdictOK)
	if left(g, cardA) != 10 || left(g, cardB) != 3 {
		t.Errorf("left %d and %d after a success with A, want 10 and 3", left(g, cardA), left(g, cardB))
	}
	_ = g.Close()
}

func TestAJournalThatWasCutIsRefused(t *testing.T) {
	path := t.TempDir()
	g, _ := open(t, DirFS(path))
	for rows := uint64(1); rows <= 8; rows += 2 {
		a, err := g.Debit(Account{cardA, token.SecretPIN, 10, token.Tries{}}, freely, AuditMark{Rows: rows, Own: 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Settle(a, token.Verdict{Kind: token.VerdictWrong}, AuditMark{Rows: rows + 1, Own: 1}); err != nil {
			t.Fatal(err)
		}
	}
	_ = g.Close()
	name := filepath.Join(path, journalName)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for slots := 1; slots <= 8; slots++ { // of nine
		image := bytes.Clone(whole)
		clear(image[slots*slotSize:])
		if err := os.WriteFile(name, image, 0o600); err != nil {
			t.Fatal(err)
		}
		g, _, err := Open(Config{FS: DirFS(path), Now: wallClock, Records: 8})
		if slots == 8 && err == nil { // what a crash between slot and row leaves
			if left(g, cardA) != 6 {
				t.Errorf("left %d without the last verdict, want 6", left(g, cardA))
			}
			_ = g.Close()
			continue
		}
		if token.KindOf(err) != token.KindJournalDamaged {
			t.Errorf("%d slots left: %v, want JOURNAL_DAMAGED", slots, err)
		}
	}
}

func TestAJournalIsShortOfTheNewestBarrierAtMost(t *testing.T) {
	for _, tt := range []struct {
		records, newest uint64
		fits            bool
	}{{10, 1, true}, {11, 1, true}, {12, 1, false}, {12, 2, true}, {13, 2, false}, {9, 2, true}} {
		err := findings{audit: AuditMark{Rows: 10}}.fits(tt.records, tt.newest)
		if (err == nil) != tt.fits {
			t.Errorf("%d records, the newest %d in one barrier: %v", tt.records, tt.newest, err)
		}
	}
}

func TestAFullJournalWithAnOpenAttemptIsCompactedAtTheStart(t *testing.T) {
	dir := DirFS(t.TempDir())
	g, _, err := Open(Config{FS: dir, Now: wallClock, Slots: 4})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := g.Mark(AuditMark{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := g.Debit(Account{cardA, token.SecretPIN, 10, token.Tries{}}, freely, AuditMark{}); err != nil {
		t.Fatal(err)
	}
	_ = g.Close()
	again, rec := open(t, dir)
	if len(rec.Dangling) != 1 || left(again, cardA) != 9 || again.journal.used > again.journal.capacity {
		t.Errorf("recovery %+v, left %d, %d of %d slots used", rec, left(again, cardA), again.journal.used, again.journal.capacity)
	}
}
