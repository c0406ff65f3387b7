package house

import "fmt"

// Finding is an invariant of the fault catalogue that does not hold.
type Finding struct {
	Invariant int // 1 to 10
	Text      string
}

// Findings collects them.
type Findings []Finding

func (f *Findings) add(invariant int, format string, args ...any) {
	*f = append(*f, Finding{invariant, fmt.Sprintf(format, args...)})
}
