package daemon

import (
	"errors"
	"os"
	"os/user"
	"runtime/debug"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/inkan-project/inkan/token"
)

// harden keeps what this process holds out of core dumps and other programs'
// reach. It is called before the first PIN could come.
func harden() error {
	// A traceback prints arguments of functions: pointers, never a PIN, but
	// nothing of a process that holds PINs needs to be seen by all.
	debug.SetTraceback("single")
	return errors.Join(
		unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}),
		unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0),
	)
}

// checkEnvironment refuses variables with which a library would write out the
// APDUs or messages that a PIN passes through.
func checkEnvironment(environ []string) error {
	for _, name := range []string{"LIBPCSCLITE_DELEGATE", "GRPC_BINARY_LOG_FILTER", "OPENSC_DEBUG"} {
		if slices.ContainsFunc(environ, func(e string) bool { return len(e) > len(name) && e[:len(name)+1] == name+"=" }) {
			return token.NewError(token.KindEnvironmentRefused, "name", name)
		}
	}
	return nil
}

// groupID returns the id of a group, nil if there is no such group: then
// nobody is a member.
func groupID(name string) (*uint32, error) {
	g, err := user.LookupGroup(name)
	if _, unknown := errors.AsType[user.UnknownGroupError](err); unknown {
		return nil, nil
	}
	if err != nil {
		return nil, invalid("group %s cannot be looked up: %v", name, err)
	}
	id, err := strconv.ParseUint(g.Gid, 10, 32)
	if err != nil {
		return nil, invalid("group %s has the id %q", name, g.Gid)
	}
	gid := uint32(id)
	return &gid, nil
}

// currentUID is the user that started this process.
func currentUID() *uint32 {
	uid := uint32(os.Getuid())
	return &uid
}
