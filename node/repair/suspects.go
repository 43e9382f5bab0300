package repair

import (
	"context"
	"sync"
	"time"

	"partstore/internal/layout"
)

// Suspect is a chunk that somebody found missing or damaged.
type Suspect struct {
	Upload layout.UploadID   `json:"upload"`
	Number layout.PartNumber `json:"number"`
	Chunk  layout.ChunkID    `json:"-"`
}

// Suspects is a queue of chunks to be looked at soon. It is bounded, each chunk
// is in it once, and adding to it never blocks: what it has no room for waits
// for the next reader, or for the scrub. It is safe for concurrent use.
type Suspects struct {
	limit int
	again time.Duration
	now   func() time.Time
	wake  chan struct{} // holds a token when there may be something in queue

	mu    sync.Mutex
	queue []Suspect
	// known has what is in the queue or in work, with the zero time, and what
	// was looked at, until it may come again.
	known map[Suspect]time.Time
}

// NewSuspects returns an empty queue for so many chunks. One that was looked at
// is let in again after a while only: else every read of a chunk that cannot be
// healed now would have all of it read once more.
func NewSuspects(limit int, again time.Duration) *Suspects {
	return &Suspects{limit: limit, again: again, now: time.Now, wake: make(chan struct{}, 1), known: map[Suspect]time.Time{}}
}

// Add queues a chunk, unless it is known or there is no room. It reports whether
// it did.
func (s *Suspects) Add(x Suspect) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if until, known := s.known[x]; known && (until.IsZero() || s.now().Before(until)) {
		return false
	}
	if len(s.known) >= s.limit {
		s.forget()
	}
	if len(s.known) >= s.limit {
		return false
	}
	s.known[x] = time.Time{}
	s.queue = append(s.queue, x)
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return true
}

// forget makes room: what may come again need not be known.
func (s *Suspects) forget() {
	now := s.now()
	for x, until := range s.known {
		if !until.IsZero() && !now.Before(until) {
			delete(s.known, x)
		}
	}
}

// Run has every chunk of the queue looked at, one after the other, until ctx
// ends.
func (s *Suspects) Run(ctx context.Context, look func(context.Context, Suspect)) error {
	for ctx.Err() == nil {
		x, found := s.next()
		if !found {
			select {
			case <-ctx.Done():
			case <-s.wake:
			}
			continue
		}
		look(ctx, x)
		s.mu.Lock()
		s.known[x] = s.now().Add(s.again)
		s.mu.Unlock()
	}
	return nil
}

func (s *Suspects) next() (x Suspect, found bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return x, false
	}
	x, s.queue = s.queue[0], s.queue[1:]
	return x, true
}
