package promptcmd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// connectTimeout bounds connecting: a local socket answers at once or not at
// all.
const connectTimeout = 5 * time.Second

// daemonUser is the user that a packaged inkand runs as.
const daemonUser = "inkan"

// connect connects to pin.sock if nobody but root, inkand's user or the user
// himself can have put it there, and if it is one of these that answers.
func connect(ctx context.Context, path string, say func(en, ja string) string) (*net.UnixConn, error) {
	folder, owner, err := checkFolder(filepath.Dir(path), say)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	var d net.Dialer
	raw, err := d.DialContext(ctx, "unixpacket", filepath.Join(folder, filepath.Base(path)))
	if err != nil {
		return nil, fmt.Errorf("connecting to the PIN socket: %w", err)
	}
	conn, ok := raw.(*net.UnixConn)
	if !ok {
		_ = raw.Close() // nothing was sent
		return nil, errors.New("connecting to the PIN socket: not a Unix socket")
	}
	if err := checkPeer(conn, owner, say); err != nil {
		_ = conn.Close() // nothing was sent
		return nil, err
	}
	return conn, nil
}

// checkFolder resolves the socket's folder and returns its owner, if all of the
// way to it belongs to trusted users and nobody else can put another in place.
func checkFolder(folder string, say func(en, ja string) string) (resolved string, owner uint32, err error) {
	resolved, err = filepath.EvalSymlinks(folder)
	if err != nil {
		return "", 0, fmt.Errorf("looking at the folder of the PIN socket: %w", err)
	}
	for at := resolved; ; at = filepath.Dir(at) {
		var st unix.Stat_t
		if err := unix.Lstat(at, &st); err != nil {
			return "", 0, fmt.Errorf("looking at %s: %w", at, err)
		}
		if at == resolved {
			owner = st.Uid
		}
		if !trusted(st.Uid) {
			return "", 0, refuse(say, at, "belongs to user "+number(st.Uid), "の所有者がユーザ "+number(st.Uid)+" です")
		}
		// In a folder with the sticky bit nobody moves what is another's
		// (inode(7)); but pin.sock itself anybody could have made there.
		shared := st.Mode&0o022 != 0
		if shared && (at == resolved || st.Mode&unix.S_ISVTX == 0) {
			return "", 0, refuse(say, at, "can be written to by others", "に他のユーザが書き込めます")
		}
		if at == "/" {
			return resolved, owner, nil
		}
	}
}

// checkPeer returns nil if root or the folder's owner listens. Under socket
// activation that is systemd.
func checkPeer(conn *net.UnixConn, owner uint32, say func(en, ja string) string) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("asking who listens: %w", err)
	}
	var peer *unix.Ucred
	var optErr error
	if err := raw.Control(func(fd uintptr) { peer, optErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil || optErr != nil {
		return fmt.Errorf("asking who listens: %w", errors.Join(err, optErr))
	}
	if peer.Uid != 0 && peer.Uid != owner {
		return refuse(say, say("the PIN socket", "暗証番号用ソケット"), "is served by user "+number(peer.Uid), "はユーザ "+number(peer.Uid)+" のプログラムが待ち受けています")
	}
	return nil
}

// trusted reports whether a user may own the way to pin.sock: root, inkand's
// user, or the one who runs this (inkand --virtual in development).
func trusted(uid uint32) bool {
	if uid == 0 || int(uid) == unix.Getuid() {
		return true
	}
	u, err := user.Lookup(daemonUser)
	return err == nil && u.Uid == number(uid)
}

func refuse(say func(en, ja string) string, what, en, ja string) error {
	return errors.New(say("the PIN socket is not trusted, no PIN is asked for: "+what+" "+en,
		"暗証番号用ソケットを信頼できないため、暗証番号を尋ねません: "+what+" "+ja))
}

func number(uid uint32) string { return strconv.FormatUint(uint64(uid), 10) }
