// Package cli is the inkan command: what a person types to see cards and keys,
// to sign a file, to change a PIN, unlock or stop a card, and to read the log.
//
// It is a client like any other and knows nothing that [client] does not tell.
// At a terminal it starts inkan-prompt (package promptcmd) for what may need a PIN.
// It guarantees: output for people goes to stdout, everything about an error
// to stderr; a secret is entered on the terminal itself (never stdin), or, the
// PIN alone, read from a descriptor, straight into locked memory; a card is
// stopped only when it was confirmed twice; a file is written whole or
// not at all; no control character from a card, a program or the service
// reaches the terminal; JSON output only ever gains fields.
//
// The caller of [Main] hands in a context that ends on signals, and exits with
// the code that it returns:
//
//	0   done
//	1   an error of another kind, for example a file that cannot be read
//	2   the command line is wrong
//	3   inkand cannot be reached or trusted, is too old, or is stopping
//	4   refused: this user or program may not do it, or asks too much at once
//	5   the PIN or unlock code is wrong, or cannot be one of this card
//	6   the card is locked, held, dead or stopped here, or must be inserted again or waited for
//	7   no such card or key, or no certificate that can be used
//	8   the card or the reader failed
//	9   interrupted, or the PIN entry was cancelled or timed out, or nobody could be asked
//	10  the request is wrong: digest, algorithm, or the state of the card
//	11  the log or the PIN-try journal cannot be written
package cli
