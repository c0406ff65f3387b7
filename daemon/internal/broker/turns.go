package broker

import (
	"context"
	"slices"
	"sync"

	"github.com/inkan-project/inkan/token"
)

// turns lets the users who want a card use it in turn, so that a program of one
// user that asks without end delays another user's call by one use of the card
// at most. Calls of one user keep their order.
type turns struct {
	mu    sync.Mutex // guards cards and the queues
	cards map[token.CardID]*queue
}

// queue is who waits for one card. There is one while the card is in use.
type queue struct {
	served  uint32   // whose turn it is
	users   []uint32 // who wait besides, the next one first
	waiting map[uint32][]chan struct{}
}

func newTurns() *turns { return &turns{cards: map[token.CardID]*queue{}} }

// take waits for the user's turn at a card. done ends the turn. The error is
// KindCallEnded.
func (t *turns) take(ctx context.Context, card token.CardID, uid uint32) (done func(), err error) {
	mine := t.join(card, uid)
	done = func() { t.next(card) }
	if mine == nil {
		return done, nil
	}
	select {
	case <-mine:
		return done, nil
	case <-ctx.Done():
	}
	if !t.abandon(card, uid, mine) {
		done() // it came to us in this very moment
	}
	return nil, token.NewError(token.KindCallEnded).Because(ctx.Err())
}

// join returns nil if nobody uses the card, else what is closed when it is our
// turn.
func (t *turns) join(card token.CardID, uid uint32) chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	q := t.cards[card]
	if q == nil {
		t.cards[card] = &queue{served: uid, waiting: map[uint32][]chan struct{}{}}
		return nil
	}
	if len(q.waiting[uid]) == 0 && uid != q.served {
		q.users = append(q.users, uid)
	}
	mine := make(chan struct{})
	q.waiting[uid] = append(q.waiting[uid], mine)
	return mine
}

// next gives the card to whose turn it is.
func (t *turns) next(card token.CardID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	q := t.cards[card]
	if len(q.waiting[q.served]) > 0 { // behind all others who wait
		q.users = append(q.users, q.served)
	}
	if len(q.users) == 0 {
		delete(t.cards, card)
		return
	}
	uid := q.users[0]
	q.served, q.users = uid, q.users[1:]
	first := q.waiting[uid][0]
	q.waiting[uid] = q.waiting[uid][1:]
	if len(q.waiting[uid]) == 0 {
		delete(q.waiting, uid)
	}
	close(first)
}

// abandon takes a waiter out; false: its turn has come already.
func (t *turns) abandon(card token.CardID, uid uint32, mine chan struct{}) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	q := t.cards[card]
	if q == nil {
		return false
	}
	at := slices.Index(q.waiting[uid], mine)
	if at < 0 {
		return false
	}
	if q.waiting[uid] = slices.Delete(q.waiting[uid], at, at+1); len(q.waiting[uid]) == 0 {
		delete(q.waiting, uid)
		q.users = slices.DeleteFunc(q.users, func(u uint32) bool { return u == uid })
	}
	return true
}
