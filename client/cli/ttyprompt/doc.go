// Package ttyprompt asks the person at the terminal: for the PIN and the other
// secrets of a card, and for typed confirmations. inkan and inkan-prompt share
// it.
//
// It guarantees that a secret goes from the terminal straight into the buffer
// it is given, unseen, and is never cut; that what is typed where a
// confirmation is asked for is neither kept nor shown as long as it is not what
// was asked for, since people type their PIN by habit; that nothing a program
// says reaches the terminal as more than text; and that the terminal is as it
// was when a question ends, however it ends.
//
// The caller asks one question at a time.
package ttyprompt
