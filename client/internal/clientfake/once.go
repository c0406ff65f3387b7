package clientfake

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// named is a request that may have a name.
type named interface {
	GetRequestId() string
	GetRepeat() bool
}

// first is the answer to a request that has a name.
type first struct {
	resp any
	err  error
}

// Lose says what is lost of a call.
type Lose int

// What the connection can take with it.
const (
	LoseNothing Lose = iota
	LoseRequest      // it never comes
	LoseAnswer       // it is done, and nobody hears of it
)

// LoseNext loses the next call of a method, as a connection that breaks does.
func (s *Server) LoseNext(method string, what Lose) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.losses[method] = what
}

// Done returns how often a method was done, repeats not counted.
func (s *Server) Done(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[method]
}

// once does a request that has a name one time.
func (s *Server) once(method string, req any, do func() (any, error)) (any, error) {
	s.mu.Lock()
	lost := s.losses[method]
	delete(s.losses, method)
	s.mu.Unlock()
	gone := status.Error(codes.Unavailable, "the connection is gone")
	if lost == LoseRequest {
		return nil, gone
	}
	q, ok := req.(named)
	if !ok || q.GetRequestId() == "" {
		return do()
	}
	key := method + " " + q.GetRequestId()
	s.mu.Lock()
	had, known := s.firsts[key]
	s.mu.Unlock()
	switch {
	case known:
		return had.resp, had.err
	case q.GetRepeat():
		return nil, StatusError(inkanpb.Reason_REASON_REQUEST_NOT_KNOWN)
	}
	resp, err := do()
	s.mu.Lock()
	s.firsts[key] = first{resp, err}
	s.counts[method]++
	s.mu.Unlock()
	if lost == LoseAnswer {
		return nil, gone
	}
	return resp, err
}
