package store

import (
	"fmt"
	"strings"
)

// firstVersion is PRAGMA user_version of the oldest database that is brought
// forward: what was made before is not of a release.
const firstVersion = 2

// layout is how the tables are made, step by step. The first step makes those
// of [firstVersion] in an empty database, each other one those of the next
// version from those of the one before. A new database takes all steps too, so
// that it has the same tables as one that was brought forward.
type layout []string

// tables returns the layout of this program. To change a table, add a step
// here and a test beside those of migrate_test.go; a step that was released is
// never changed. The table audit keeps its columns: its rows are hashed.
func tables() layout { return layout{schema} }

// version is PRAGMA user_version of the tables that all steps make. A higher
// one is refused.
func (l layout) version() int { return firstVersion + len(l) - 1 }

// upTo returns the steps that make the tables of a version.
func (l layout) upTo(version int) layout { return l[:version-firstVersion+1] }

// after returns the steps that bring tables of a version forward.
func (l layout) after(version int) layout { return l[version-firstVersion+1:] }

// script returns the steps as one piece of SQL that leaves a database of
// the version given.
func (l layout) script(version int) string {
	return fmt.Sprintf("%s; PRAGMA user_version = %d;", strings.Join(l, ";"), version)
}

// schema makes the tables of the first release. Nothing in the program deletes
// a row of any.
//
// audit: hash chains a row to the one before (package audit). Each index costs
// one page more in each append, so there is only the one that keeps a user
// from reading the whole log for a few own records.
// card, card_key: hash is over the content of the row (content.go). Times are
// nanoseconds since 1970-01-01 UTC.
const schema = `
CREATE TABLE audit (
	sequence INTEGER PRIMARY KEY CHECK (sequence > 0),
	uid INTEGER,
	kind TEXT NOT NULL,
	intent INTEGER NOT NULL,
	body BLOB NOT NULL,
	prev BLOB NOT NULL,
	hash BLOB NOT NULL
) STRICT;
CREATE INDEX audit_uid ON audit (uid) WHERE uid IS NOT NULL;

CREATE TABLE card (
	id TEXT PRIMARY KEY,
	serial TEXT NOT NULL,
	application TEXT NOT NULL,
	virtual INTEGER NOT NULL,
	first_seen INTEGER NOT NULL,
	last_seen INTEGER NOT NULL,
	company TEXT NOT NULL,
	token TEXT NOT NULL,
	hash BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE card_key (
	id TEXT PRIMARY KEY,
	card TEXT NOT NULL REFERENCES card (id),
	slot TEXT NOT NULL,
	label TEXT NOT NULL,
	spki BLOB NOT NULL,
	certificate BLOB,
	pin_policy INTEGER NOT NULL,
	hash BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX card_key_card ON card_key (card, slot);
`
