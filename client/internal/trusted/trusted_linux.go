package trusted

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/user"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// daemonUser is the user that a packaged inkand runs as.
const daemonUser = "inkan"

// Dial connects to a socket if nobody but root, inkand's user or the user
// himself can have put it there, and if it is one of these that listens;
// network is "unix" or "unixpacket".
func Dial(ctx context.Context, network, path string) (*net.UnixConn, error) {
	folder, owner, err := checkFolder(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	conn, err := dial(ctx, network, filepath.Join(folder, filepath.Base(path)))
	if err != nil {
		return nil, err
	}
	if err := checkPeer(conn, owner); err != nil {
		_ = conn.Close() // nothing was sent
		return nil, err
	}
	return conn, nil
}

// checkFolder resolves the socket's folder and returns its owner, if all of the
// way to it belongs to trusted users and nobody else can put another in place.
func checkFolder(folder string) (resolved string, owner uint32, err error) {
	resolved, err = filepath.EvalSymlinks(folder)
	if err != nil {
		return "", 0, fmt.Errorf("looking at the folder of the socket: %w", err)
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
			return "", 0, &Refusal{at, "belongs to user " + number(st.Uid), "の所有者がユーザ " + number(st.Uid) + " です"}
		}
		// In a folder with the sticky bit nobody moves what is another's
		// (inode(7)); but the socket itself anybody could have made there.
		if writable(st) && (at == resolved || st.Mode&unix.S_ISVTX == 0) {
			return "", 0, &Refusal{at, "can be written to by others", "に他のユーザが書き込めます"}
		}
		if at == "/" {
			return resolved, owner, nil
		}
	}
}

// writable reports whether others than the owner can write to a folder. The
// user's own group does not count where he owns the folder: with umask 002 it
// is his private one.
func writable(st unix.Stat_t) bool {
	own := int(st.Uid) == unix.Getuid() && int(st.Gid) == unix.Getgid()
	return st.Mode&unix.S_IWOTH != 0 || st.Mode&unix.S_IWGRP != 0 && !own
}

// checkPeer returns nil if root or the folder's owner listens. Under socket
// activation that is systemd.
func checkPeer(conn *net.UnixConn, owner uint32) error {
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
		return &Refusal{"", "a program of user " + number(peer.Uid) + " listens", "ユーザ " + number(peer.Uid) + " のプログラムが待ち受けています"}
	}
	return nil
}

// trusted reports whether a user may own the way to a socket: root, inkand's
// user, or the one who runs this (inkand --virtual in development).
func trusted(uid uint32) bool {
	if uid == 0 || int(uid) == unix.Getuid() {
		return true
	}
	u, err := user.Lookup(daemonUser)
	return err == nil && u.Uid == number(uid)
}

func number(uid uint32) string { return strconv.FormatUint(uint64(uid), 10) }
