package cli

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/client/cli/ttyprompt"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// fdSource gives the PIN that stands in a descriptor, once. It is asked for the
// PIN only: it is no client.SecretSource, and nobody is there to confirm.
type fdSource struct{ fd int }

// newFDSource takes a descriptor over from the shell. One that the shell did
// not give could be Go's own (it keeps its cgroup's CPU limit open, often as 3)
// or become one of our connections, and what it says would be tried as a PIN.
// Only an inherited descriptor has no close-on-exec flag: execve(2) closes the
// others, and Go sets the flag on all it opens.
func newFDSource(fd int) (client.PINSource, error) {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC != 0 {
		return nil, pinFDMistake(fd, "the descriptor is not open", "記述子が開かれていません")
	}
	var info unix.Stat_t
	if err := unix.Fstat(fd, &info); err == nil && info.Mode&unix.S_IFMT == unix.S_IFDIR {
		return nil, pinFDMistake(fd, "it is a folder", "フォルダです")
	}
	mode, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil || mode&unix.O_PATH != 0 || mode&unix.O_ACCMODE == unix.O_WRONLY {
		return nil, pinFDMistake(fd, "the descriptor is not open for reading", "読取り用に開かれていません")
	}
	unix.CloseOnExec(fd)
	return &fdSource{fd}, nil
}

// pinFDMistake is that a descriptor cannot give a PIN.
func pinFDMistake(fd int, en, ja string) *mistake {
	return usage("--pin-fd "+itoa(fd)+": "+en, "--pin-fd "+itoa(fd)+": "+ja)
}

// PIN implements [client.PINSource]. Its mistakes are causes of the error that
// the call returns, where report finds them.
func (s *fdSource) PIN(ctx context.Context, _ client.Prompt, buf []byte) (int, error) {
	if s.fd < 0 {
		return 0, errors.New("the PIN of --pin-fd was used already")
	}
	fd := s.fd
	s.fd = -1            // one PIN is given once: a wrong one must not be sent again
	defer unix.Close(fd) // only read
	r, err := ttyprompt.NewReader(ctx, fd)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	n, err := r.Line(buf)
	switch {
	case errors.Is(err, ttyprompt.ErrTooLong):
		return 0, ofReason(inkanpb.Reason_REASON_PIN_MALFORMED, map[string]string{"en": ttyprompt.ErrTooLong.Error(), "ja": "64バイトを超えています"})
	case err != nil && ctx.Err() != nil:
		return 0, err
	case err != nil:
		en, ja := causeText(err)
		m := pinFDMistake(fd, "the PIN cannot be read: "+en, "暗証番号を読めません("+ja+")")
		m.cause = err
		return 0, m
	}
	return n, nil
}
