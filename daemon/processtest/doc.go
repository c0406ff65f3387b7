// Package processtest holds the tests of inkand as a process of its own: the
// program that people run, behind a real pcscd, with the card and everybody who
// asks in other processes. What it keeps in memory, what it asks the kernel for
// and in which order, and what other users can make it do is seen from outside.
//
// It guarantees nothing to anybody and exports nothing.
package processtest
