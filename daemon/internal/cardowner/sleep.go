package cardowner

import "context"

// While the PC sleeps its readers lose power and a card can be swapped without
// anybody seeing it. So before that all cards are reset and let go, and nothing
// is believed of them any more; afterwards they are identified anew, as on the
// first day. A card that is in when the PC wakes was not put in by a person.

// Sleep lets all cards go, reset, once their uses under way have ended. It
// returns when all are, or when ctx ends. From then on no card is known and all
// readers are busy until Wake: see [Owner.Settle].
func (o *Owner) Sleep(ctx context.Context) {
	o.mu.Lock()
	if o.awake == nil {
		o.awake = make(chan struct{})
	}
	var all []chan struct{}
	for name, r := range o.readers {
		let := make(chan struct{})
		select {
		case r.sleep <- let:
			all = append(all, let)
		default: // it was told before and has not come to it
		}
		seen := o.seen[name]
		seen.Busy = true
		o.seen[name] = seen
		delete(o.claims, name)
	}
	o.notifyLocked()
	o.mu.Unlock()
	for _, let := range all {
		select {
		case <-let:
		case <-ctx.Done():
			o.cfg.Logger.Warn("The PC sleeps while a card is in use")
			return
		}
	}
	o.cfg.Logger.Info("The PC sleeps: all cards were reset and let go")
}

// Wake has all cards identified again. It does nothing unless Sleep was called.
func (o *Owner) Wake() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.awake == nil {
		return
	}
	close(o.awake)
	o.awake = nil
	o.cfg.Logger.Info("The PC is awake: cards are identified again")
}

// sleeping returns what is closed at Wake, nil while nobody sleeps.
func (o *Owner) sleeping() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.awake
}

// doze lets the card go, reset and forgotten, until Wake or ctx ends.
func (r *reader) doze(ctx context.Context, let chan<- struct{}) {
	r.retry.Stop()
	r.release()
	r.owner.disclaim(r)
	r.card, r.problem, r.trouble = nil, nil, nil
	r.publish(nil, true)
	close(let)
	for awake := r.owner.sleeping(); awake != nil; awake = r.owner.sleeping() {
		select {
		case <-awake:
		case again := <-r.sleep: // told twice
			close(again)
		case <-ctx.Done():
			return
		}
	}
	now := r.now
	select {
	case now = <-r.state:
	default:
	}
	r.met = false
	r.update(now)
}
