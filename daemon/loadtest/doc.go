// Package loadtest shows that many callers, and callers who mean harm, keep
// nobody from signing: the classes F11 and F12 of the fault catalogue, which
// `make faults` runs as tests here, in a process of their own.
//
// It guarantees that the numbers it prints were measured in one run, beside
// their reference. It has no code but its tests; they are to run as root, for
// they call as other users.
package loadtest
