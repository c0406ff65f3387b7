package stepper

import "golang.org/x/sys/unix"

// oldCalls are those that newer architectures do not have.
func oldCalls() map[uint64]watch { return map[uint64]watch{unix.SYS_RENAME: {"rename", 1}} }
