package daemon

import "github.com/inkan-project/inkan/daemon/internal/rpc"

// LimitsConfig bounds what callers may have open. Zero values mean the default.
type LimitsConfig struct {
	// Connections of all users to Socket. Default 256.
	Connections int `toml:"connections"`
	// UserConnections of one user. Default 8.
	UserConnections int `toml:"user_connections"`
	// Calls of all users that run at once. Default 2000.
	Calls int `toml:"calls"`
	// UserCalls of one user that run at once. Default 250.
	UserCalls int `toml:"user_calls"`
	// UserRate is how many calls one user may begin in a second, on average.
	// Default 1000.
	UserRate int `toml:"user_rate"`
}

// rpc returns the limits as the API takes them.
func (c LimitsConfig) rpc() rpc.Limits {
	return rpc.Limits{
		Connections: c.Connections, UserConnections: c.UserConnections,
		Calls: c.Calls, UserCalls: c.UserCalls, UserRate: c.UserRate,
	}
}

// check returns KindConfigInvalid for a limit that is none.
func (c LimitsConfig) check() error {
	for name, n := range map[string]int{
		"connections": c.Connections, "user_connections": c.UserConnections,
		"calls": c.Calls, "user_calls": c.UserCalls, "user_rate": c.UserRate,
	} {
		if n < 0 || n > maxLimit {
			return invalid("limits.%s = %d is not between 1 and %d", name, n, maxLimit)
		}
	}
	return nil
}

// maxLimit is the largest limit that can be set.
const maxLimit = 100_000
