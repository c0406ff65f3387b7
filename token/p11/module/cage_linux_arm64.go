package module

import "golang.org/x/sys/unix"

// The architecture; it has no second set of numbers.
const (
	auditArch      = unix.AUDIT_ARCH_AARCH64
	foreignNumbers = 0x80000000
)

// olderCalls are none here.
func olderCalls() []uint32 { return nil }
