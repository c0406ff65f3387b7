// Package pcscdtest holds the tests of inkand behind a real pcscd: its own
// package, for libpcsclite reads the path of its socket once per process, and
// so no other test may run beside them.
//
// It guarantees nothing to anybody and exports nothing.
package pcscdtest
