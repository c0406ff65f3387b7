package pinguard

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/inkan-project/inkan/token"
)

// Causes that need more than events.
const (
	anotherCount   = "card tells another count"
	journalRenewed = "journal renewed"
)

// spot is a card in one of the situations that there can be.
type spot struct {
	pin, unlock count
	limit       int
	onCard      token.Tries // what the card says of its PIN
	profile     int         // limit of another profile, for the event of that name
}

// spots are situations on both sides of everything that decides a state.
func spots() []spot {
	var all []spot
	used := []uint8{0, 2, 6, 7, 9, 10, blockedUsed}
	for _, limit := range []int{10, 3} {
		for _, pinUsed := range used {
			for _, pinSilent := range []uint8{0, silentLimit - 1, silentLimit} {
				if limit == 3 && (pinUsed == 7 || pinUsed == 10) { // the same as 9
					continue
				}
				for _, unlockUsed := range used {
					for _, unlockSilent := range []uint8{0, silentLimit} {
						for _, flags := range []uint8{0, flagCopied} {
							for _, onCard := range []token.Tries{{}, token.KnownTries(0), token.KnownTries(2), token.KnownTries(limit)} {
								if pinSilent > pinUsed || unlockSilent > unlockUsed { // each silent try is a used one
									continue
								}
								all = append(all, spot{
									pin:    count{used: pinUsed, silent: pinSilent, flags: flags},
									unlock: count{used: unlockUsed, silent: unlockSilent, flags: flags},
									limit:  limit, onCard: onCard, profile: 13 - limit,
								})
							}
						}
					}
				}
			}
		}
	}
	return all
}

// bench is a guard over a disk in memory, put into one situation after another.
type bench struct {
	t     *testing.T
	fs    *memoryFS
	guard *Guard
	spot  spot
}

func (b *bench) open(fsys *memoryFS) {
	b.t.Helper()
	g, _, err := Open(Config{FS: fsys, Now: wallClock, Slots: 8, Boot: func() Boot { return Boot{} }})
	if err != nil {
		b.t.Fatalf("Open: %v", err)
	}
	b.fs, b.guard = fsys, g
}

// enter puts the card into a situation, on the disk, too.
func (b *bench) enter(s spot) {
	b.t.Helper()
	b.spot = s
	b.guard.books = newBooks()
	b.guard.books.base.flags = s.pin.flags
	b.guard.books.counts[b.pin().key()], b.guard.books.counts[b.code().key()] = s.pin, s.unlock
	b.guard.tries = map[uint64]try{}
	if err := b.guard.compact(AuditMark{}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) pin() Account {
	return Account{Card: cardA, Secret: token.SecretPIN, Limit: b.spot.limit, OnCard: b.spot.onCard}
}

func (b *bench) code() Account {
	return Account{Card: cardA, Secret: token.SecretUnlockCode, Limit: b.spot.limit}
}

func (b *bench) state() token.CardState {
	return StateOf(b.guard.Belief(b.pin()), b.guard.Belief(b.code()))
}

// try does as the broker does: first what the card says is taken over, then the
// try is made, if it is admitted. The card's count is what it says with its
// verdict.
func (b *bench) try(acc Account, v token.Verdict) {
	b.t.Helper()
	if b.guard.IsLower(b.pin()) {
		if _, err := b.guard.Lower(b.pin(), AuditMark{}); err != nil {
			b.t.Fatal(err)
		}
	}
	a, err := b.guard.Debit(acc, freely, AuditMark{})
	if err != nil {
		return // refused: nothing is sent
	}
	if err := b.guard.Settle(a, v, AuditMark{}); err != nil {
		b.t.Fatal(err)
	}
	if n, known := b.spot.onCard.Count(); known && acc.Secret == token.SecretPIN {
		switch v.Kind {
		case token.VerdictOK:
			b.spot.onCard = token.KnownTries(b.spot.limit)
		case token.VerdictWrong, token.VerdictNone:
			b.spot.onCard = token.KnownTries(max(0, n-1))
		case token.VerdictBlocked:
			b.spot.onCard = token.KnownTries(0)
		}
	}
	if acc.Secret == token.SecretUnlockCode {
		b.spot.onCard = token.Tries{} // as the broker forgets it
	}
}

// events are all that can happen to the tries of a card, under the names of
// docs/states.md.
func events() map[string]func(*bench) {
	verdict := func(kind token.VerdictKind) token.Verdict { return token.Verdict{Kind: kind} }
	must := func(b *bench, err error) {
		if err != nil {
			b.t.Helper()
			b.t.Fatal(err)
		}
	}
	return map[string]func(*bench){
		"right PIN":                          func(b *bench) { b.try(b.pin(), verdict(token.VerdictOK)) },
		"wrong PIN":                          func(b *bench) { b.try(b.pin(), verdict(token.VerdictWrong)) },
		"no verdict on the PIN":              func(b *bench) { b.try(b.pin(), verdict(token.VerdictNone)) },
		"PIN blocked, says the card":         func(b *bench) { b.try(b.pin(), verdict(token.VerdictBlocked)) },
		"right unlock code":                  func(b *bench) { b.try(b.code(), verdict(token.VerdictOK)) },
		"wrong unlock code":                  func(b *bench) { b.try(b.code(), verdict(token.VerdictWrong)) },
		"no verdict on the unlock code":      func(b *bench) { b.try(b.code(), verdict(token.VerdictNone)) },
		"unlock code blocked, says the card": func(b *bench) { b.try(b.code(), verdict(token.VerdictBlocked)) },
		"crash in a try": func(b *bench) {
			if _, err := b.guard.Debit(b.pin(), freely, AuditMark{}); err == nil {
				b.open(b.fs.left())
			}
		},
		"acknowledged by a person":           func(b *bench) { must(b, b.guard.Acknowledge(cardA, false, AuditMark{})) },
		"acknowledged by an administrator":   func(b *bench) { must(b, b.guard.Acknowledge(cardA, true, AuditMark{})) },
		"state directory copied or restored": func(b *bench) { b.open(b.fs.copied()) },
		"slot of the journal unreadable": func(b *bench) {
			must(b, b.guard.Mark(AuditMark{}))
			b.fs.files[journalName].bytes[(b.guard.journal.used-1)*slotSize+100] ^= 1
			b.open(b.fs.left())
		},
		journalRenewed: func(b *bench) {
			b.fs.files[journalName].bytes = b.fs.files[journalName].bytes[:100]
			_, err := Renew(b.fs, wallClock(), 0, 1)
			must(b, err)
			b.open(b.fs.left())
		},
		"another card profile": func(b *bench) { b.spot.limit = b.spot.profile },
		// What must not change anything:
		"inserted again": func(b *bench) { must(b, b.guard.Inserted(cardA, AuditMark{})) },
		"restart":        func(b *bench) { b.open(b.fs.left()) },
	}
}

func stateName(s token.CardState) string {
	return map[token.CardState]string{
		token.CardReady: "ready", token.CardLow: "low", token.CardHeld: "held",
		token.CardLocked: "locked", token.CardDead: "dead",
	}[s]
}

// transitions are those that the code makes, by cause.
func transitions(t *testing.T) map[string][]string {
	t.Helper()
	b := &bench{t: t}
	b.open(newMemoryFS())
	found := map[string]map[string]bool{}
	note := func(cause string, from, to token.CardState) {
		if from == to {
			return
		}
		if found[cause] == nil {
			found[cause] = map[string]bool{}
		}
		found[cause][stateName(from)+" → "+stateName(to)] = true
	}
	type renewal struct {
		from   token.CardState
		limit  int
		onCard token.Tries
	}
	renewed := map[renewal]bool{} // nothing else decides, and a new journal is large
	for _, s := range spots() {
		for cause, happen := range events() {
			b.enter(s)
			from := b.state()
			if key := (renewal{from, s.limit, s.onCard}); cause == journalRenewed {
				if renewed[key] {
					continue
				}
				renewed[key] = true
			}
			happen(b)
			note(cause, from, b.state())
		}
		for _, x := range []int{0, 1, 3, 4, 10} {
			b.enter(s)
			from := b.state()
			b.spot.onCard = token.KnownTries(x)
			note(anotherCount, from, b.state())
		}
	}
	all := map[string][]string{}
	for cause, set := range found {
		all[cause] = slices.Sorted(maps.Keys(set))
	}
	return all
}

// document is the part of docs/states.md about cards.
func document(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/states.md")
	if err != nil {
		t.Fatal(err)
	}
	cards, _, found := strings.Cut(string(text), "## The certificate")
	if !found {
		t.Fatal("docs/states.md has no part about the certificate")
	}
	return cards
}

var (
	causeRow = regexp.MustCompile(`(?m)^\| ([^|]+) \| [^|]+ \| ([^|]*→[^|]*) \|$`)
	edge     = regexp.MustCompile(`(?m)^ +([a-z_]+) --> ([a-z_]+): `)
)

// documented are the transitions of docs/states.md, by cause.
func documented(text string) map[string][]string {
	all := map[string][]string{}
	for _, row := range causeRow.FindAllStringSubmatch(text, -1) {
		all[row[1]] = slices.Sorted(slices.Values(strings.Split(row[2], ", ")))
	}
	return all
}

// TestOnlyTheTransitionsOfTheDocumentHappen puts a card into thousands of
// situations and lets everything happen to it that can: docs/states.md names
// all that changes its state, and nothing else.
func TestOnlyTheTransitionsOfTheDocumentHappen(t *testing.T) {
	want := documented(document(t))
	// The broker shows a stop over whatever the tries say.
	for cause, order := range map[string]string{"stopped here": "%s → stopped", "lifted": "stopped → %s"} {
		var all []string
		for _, state := range []string{"ready", "low", "held", "locked", "dead"} {
			all = append(all, fmt.Sprintf(order, state))
		}
		slices.Sort(all)
		if diff := cmp.Diff(all, want[cause]); diff != "" {
			t.Errorf("docs/states.md about %q (-want +got):\n%s", cause, diff)
		}
		delete(want, cause)
	}
	if diff := cmp.Diff(want, transitions(t)); diff != "" {
		t.Errorf("transitions (-docs/states.md +code):\n%s", diff)
	}
}

// TestThePictureShowsTheEverydayTransitions holds the diagram of docs/states.md
// equal to the first of its tables.
func TestThePictureShowsTheEverydayTransitions(t *testing.T) {
	everyday, _, found := strings.Cut(document(t), "### Rare")
	if !found {
		t.Fatal("docs/states.md does not tell the rare transitions apart")
	}
	drawn, listed := map[string]bool{}, map[string]bool{}
	for _, e := range edge.FindAllStringSubmatch(everyday, -1) {
		drawn[e[1]+" → "+e[2]] = true
	}
	for _, all := range documented(everyday) {
		for _, transition := range all {
			listed[transition] = true
		}
	}
	if diff := cmp.Diff(listed, drawn); diff != "" {
		t.Errorf("transitions (-table +picture):\n%s", diff)
	}
}
