package certstatus

import "sync"

// shelfSize is how many certificates a Shelf holds before it is emptied: far
// more than a PC has cards for.
const shelfSize = 256

// Shelf keeps what [Read] found, because every signature and every look at the
// status asks again. The zero value is empty; it is safe for concurrent use.
type Shelf struct {
	mu    sync.Mutex // guards known
	known map[string]Facts
}

// Read returns the facts in a certificate, as [Read] does.
func (s *Shelf) Read(der []byte) (Facts, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if facts, ok := s.known[string(der)]; ok {
		return facts, nil
	}
	facts, err := Read(der)
	if err != nil {
		return Facts{}, err
	}
	if s.known == nil || len(s.known) >= shelfSize {
		s.known = map[string]Facts{}
	}
	s.known[string(der)] = facts
	return facts, nil
}
