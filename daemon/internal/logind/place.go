package logind

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/godbus/dbus/v5"
)

// Place is where a process's user would see what it shows.
type Place uint8

// Places. The zero value is that nothing is known, which is not "elsewhere".
const (
	PlaceUnknown   Place = 0
	PlaceSeat      Place = 1 // in the session that is now at the front of a seat
	PlaceElsewhere Place = 2 // behind another session, on another machine, or in no session at all
)

// Place says where a process is. A process outside of all sessions, such as one
// that the user's own systemd started, is where its user's main session is. The
// caller must know that pid is still the process it means when Place returns.
func (c *Conn) Place(ctx context.Context, uid uint32, pid int32) Place {
	c.mu.Lock()
	bus := c.bus
	c.mu.Unlock()
	if bus == nil || pid <= 0 {
		return PlaceUnknown
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	place, err := find(ctx, bus, uid, pid)
	if err != nil {
		c.cfg.Logger.InfoContext(ctx, "Asking logind for a session", "uid", uid, "pid", pid, "error", err)
		return PlaceUnknown
	}
	return place
}

func find(ctx context.Context, bus *dbus.Conn, uid uint32, pid int32) (Place, error) {
	path, err := sessionOf(ctx, bus, uid, pid)
	if err != nil || path == "" {
		return PlaceElsewhere, err
	}
	active, err := property[bool](ctx, bus, path, session, "Active")
	if named(err, "org.freedesktop.DBus.Error.UnknownObject", "org.freedesktop.login1.NoSuchSession") {
		return PlaceElsewhere, nil // it has just ended
	}
	if err != nil {
		return PlaceUnknown, err
	}
	seat, err := property[reference](ctx, bus, path, session, "Seat")
	if err != nil {
		return PlaceUnknown, err
	}
	if active && seat.ID != "" {
		return PlaceSeat, nil
	}
	return PlaceElsewhere, nil
}

// sessionOf returns the session of a process, else the main one of its user,
// else "".
func sessionOf(ctx context.Context, bus *dbus.Conn, uid uint32, pid int32) (dbus.ObjectPath, error) {
	var path dbus.ObjectPath
	login := bus.Object(service, rootPath)
	err := login.CallWithContext(ctx, manager+".GetSessionByPID", 0, uint32(pid)).Store(&path)
	if err == nil {
		return path, nil
	}
	if !named(err, "org.freedesktop.login1.NoSessionForPID") {
		return "", fmt.Errorf("asking for the session of a process: %w", err)
	}
	err = login.CallWithContext(ctx, manager+".GetUser", 0, uid).Store(&path)
	if named(err, "org.freedesktop.login1.NoSuchUser", "org.freedesktop.login1.NoUserForPID") {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("asking for a user: %w", err)
	}
	display, err := property[reference](ctx, bus, path, userType, "Display")
	if err != nil || display.ID == "" {
		return "", err
	}
	return display.Path, nil
}

// reference is how logind names a session or a seat: (so). An empty ID is none.
type reference struct {
	ID   string
	Path dbus.ObjectPath
}

// property reads one property of an object.
func property[T any](ctx context.Context, bus *dbus.Conn, path dbus.ObjectPath, of, name string) (value T, err error) {
	var v dbus.Variant
	err = bus.Object(service, path).CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, of, name).Store(&v)
	if err == nil {
		err = v.Store(&value)
	}
	if err != nil {
		return value, fmt.Errorf("reading %s of %s: %w", name, path, err)
	}
	return value, nil
}

// named reports whether an error of the bus has one of these names.
func named(err error, names ...string) bool {
	e, ok := errors.AsType[dbus.Error](err)
	return ok && slices.Contains(names, e.Name)
}
