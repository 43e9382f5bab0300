package repair

import (
	"context"
	"sync"
	"time"

	"partstore/chunkstore"
	"partstore/internal/layout"
)

// Moved is how many bytes it takes to make a chunk of a part: it is written, and
// read from the former holder of its slot, or k others are.
func Moved(l layout.Layout, copied bool) int64 {
	return movedPerByte(l.Scheme, copied) * l.Scheme.ChunkSize(l.Size)
}

func movedPerByte(s layout.Scheme, copied bool) int64 {
	if copied {
		return 2
	}
	return int64(s.Data) + 1
}

// pacedWriter takes the blocks of a chunk no faster than the bandwidth allows.
type pacedWriter struct {
	chunkstore.Writer
	h     *Healer
	ctx   context.Context // of the chunk
	moved int64           // bytes, for each that is written
	began time.Time       // the work for the next block
}

// paced is a writer for a chunk for each byte of which so many are moved.
func (h *Healer) paced(ctx context.Context, w chunkstore.Writer, moved int64) *pacedWriter {
	return &pacedWriter{Writer: w, h: h, ctx: ctx, moved: moved, began: time.Now()}
}

func (w *pacedWriter) WriteBlock(block []byte) error {
	if err := w.Writer.WriteBlock(block); err != nil {
		return err
	}
	defer func() { w.began = time.Now() }()
	return w.h.cfg.Pacer.rest(w.ctx, w.began, w.h.takes(w.moved*int64(len(block))))
}

// takes is how long it should take to move so many bytes, so as to keep to the
// bandwidth.
func (h *Healer) takes(moved int64) time.Duration {
	bandwidth := h.cfg.Bandwidth
	if p, err := h.cfg.Records.RepairPolicy(); err == nil {
		nodes := 1
		if p.Total > 0 {
			nodes = h.cfg.Pacer.sharers(h.cfg.View())
		}
		bandwidth = p.BandwidthOr(bandwidth, nodes)
	}
	return time.Duration(float64(moved) / float64(bandwidth) * float64(time.Second))
}

// atOnce is how many chunks the node may make at a time; 0 if there is no bound.
func (h *Healer) atOnce() (int, error) {
	p, err := h.cfg.Records.RepairPolicy()
	if err != nil || p.AtOnce == 0 {
		return 0, err
	}
	return p.AtOnceOf(h.cfg.Pacer.sharers(h.cfg.View())), nil
}

// Pacer keeps the healers of a node's stores to one bandwidth together, and to one
// bound of what they make at a time.
type Pacer struct {
	mu     sync.Mutex
	busy   time.Time     // until when the bandwidth is used up
	making int           // chunks, or parts that are widened
	made   chan struct{} // closed when making gets less; nil: nobody waits for that

	view    *layout.View // that holding was counted in
	holding int
}

// sharers are the nodes that share a total, counted once for each view: that is a
// look at all groups, and asked for with every block.
func (p *Pacer) sharers(v *layout.View) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if v != p.view {
		p.view, p.holding = v, v.Holding()
	}
	return p.holding
}

// enter waits until fewer are made than may be, by a bound that may change
// meanwhile, and counts one more until leave.
func (p *Pacer) enter(ctx context.Context, bound func() (int, error)) error {
	for {
		most, err := bound()
		if err != nil {
			return err
		}
		p.mu.Lock()
		if most == 0 || p.making < most {
			p.making++
			p.mu.Unlock()
			return nil
		}
		if p.made == nil {
			p.made = make(chan struct{})
		}
		made := p.made
		p.mu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-made:
		case <-time.After(policyPoll): // the bound may be another
		}
	}
}

func (p *Pacer) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.making--
	if p.made != nil {
		close(p.made)
		p.made = nil
	}
}

// Making is how many chunks are made now; a part that is widened counts as one.
func (p *Pacer) Making() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.making
}

// rest waits until what began at a time, and takes so long by the bandwidth, is
// over; after what others had begun.
func (p *Pacer) rest(ctx context.Context, began time.Time, takes time.Duration) error {
	p.mu.Lock()
	if p.busy.Before(began) {
		p.busy = began
	}
	p.busy = p.busy.Add(takes)
	until := p.busy
	p.mu.Unlock()
	return rest(ctx, time.Until(until))
}

// policyPoll is how soon those notice another policy that wait because of it.
const policyPoll = time.Second

// whilePaused waits until the operator allows healing.
func (h *Healer) whilePaused(ctx context.Context) error {
	for {
		p, err := h.cfg.Records.RepairPolicy()
		if err != nil || !p.Paused {
			return err
		}
		if err := rest(ctx, policyPoll); err != nil {
			return err
		}
	}
}

func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// stopwatch counts the time in which something goes on, however often at once.
type stopwatch struct {
	mu      sync.Mutex
	running int
	since   time.Time // any runs
	sum     time.Duration
}

// start returns what to call at the end.
func (s *stopwatch) start() (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running++; s.running == 1 {
		s.since = time.Now()
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.running--; s.running == 0 {
			s.sum += time.Since(s.since)
		}
	}
}

func (s *stopwatch) elapsed() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sum
}

// Spent returns for how long chunks were being rebuilt, the pauses that keep to the
// bandwidth included.
func (h *Healer) Spent() time.Duration { return h.restoring.elapsed() }
