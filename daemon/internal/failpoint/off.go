//go:build !faults

package failpoint

// Enabled reports whether this build has failpoints.
const Enabled = false

// Hit does nothing.
func Hit(Point) {}

// Await does nothing.
func Await(bool) {}

// Armed reports false.
func Armed(Point) bool { return false }

// All returns nothing: this build has no failpoints.
func All() []Point { return nil }
