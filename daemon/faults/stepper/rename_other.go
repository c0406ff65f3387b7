//go:build !amd64

package stepper

// oldCalls are those that newer architectures do not have.
func oldCalls() map[uint64]watch { return nil }
