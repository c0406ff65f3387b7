package faults

import (
	"os/exec"
	"testing"
)

func TestWhatATestBehindPCSCDSaysIsCounted(t *testing.T) {
	for name, tt := range map[string]struct {
		script     string // what runs in its place
		faults     int
		violations int
		fails      bool
	}{
		"all well":                   {"echo faults=3 violations=0", 3, 0, false},
		"a violation":                {"echo 'VIOLATION I1 variant piv: one PIN more'; echo faults=3 violations=1; exit 1", 3, 1, false},
		"one that it forgot":         {"echo 'VIOLATION I1 variant piv: one PIN more'; echo faults=3 violations=0; exit 1", 3, 1, true},
		"another invariant":          {"echo 'VIOLATION I12 variant piv: one PIN more'; echo faults=3 violations=1; exit 1", 0, 0, true},
		"a fault never reached":      {"echo faults=3 violations=0; exit 1", 3, 0, true},
		"a violation without a fail": {"echo 'VIOLATION I1 x'; echo faults=3 violations=1", 3, 1, true},
		"a process that died":        {"kill -9 $$", 0, 0, true},
		"nothing at all":             {"true", 0, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := quiet(t)
			err := r.readers(t.Context(), exec.CommandContext(t.Context(), "sh", "-c", tt.script))
			if (err != nil) != tt.fails {
				t.Errorf("error %v, want one: %v", err, tt.fails)
			}
			if r.faults != tt.faults || len(r.violations) != tt.violations {
				t.Errorf("%d faults and %d violations, want %d and %d", r.faults, len(r.violations), tt.faults, tt.violations)
			}
			if tt.violations > 0 {
				must(t, r, I1)
			}
		})
	}
}
