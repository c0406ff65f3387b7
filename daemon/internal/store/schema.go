package store

// schemaVersion is PRAGMA user_version. A higher one is refused.
const schemaVersion = 2

// schema makes all tables. Nothing in the program deletes a row of any.
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
