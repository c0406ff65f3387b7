package module

import "golang.org/x/sys/unix"

// The architecture, and the first number of x32, which has others for the same
// calls (seccomp(2), "x32").
const (
	auditArch      = unix.AUDIT_ARCH_X86_64
	foreignNumbers = 0x40000000
)

// olderCalls are refused, too; later architectures do without them.
func olderCalls() []uint32 {
	return []uint32{unix.SYS_CHMOD, unix.SYS_CHOWN, unix.SYS_LCHOWN}
}
