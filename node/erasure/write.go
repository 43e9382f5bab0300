package erasure

import (
	"context"
	"crypto/md5"
	"time"

	"partstore/internal/layout"
)

// inFlight is how many stripes of one write are under way at once.
const inFlight = 4

// spares is how many fresh stripes a write gets for each dead lane, which may
// keep what is in flight for a while.
const spares = 2

// write is one run of the write pipeline: the caller reads and codes stripes,
// one goroutine hashes them, one lane for each chunk writes them.
type write struct {
	ctx    context.Context // of the one call that made the write
	engine *Engine
	scheme layout.Scheme
	coder  Coder
	fleet  *fleet

	free   chan *stripe // stripes that came home
	made   int          // stripes taken from the engine
	hashes chan *stripe
	sum    chan [md5.Size]byte
}

func (e *Engine) startWrite(ctx context.Context, sink Sink, coder Coder) *write {
	total := sink.Scheme.Total()
	w := &write{
		ctx: ctx, engine: e, scheme: sink.Scheme, coder: coder,
		fleet: &fleet{
			quorum: sink.Scheme.WriteQuorum(),
			hedge:  e.writes.late(e.cfg.Hedge),
			stall:  e.cfg.Stall,
			report: sink.Report,
			wake:   make(chan struct{}, 1),
		},
		free:   make(chan *stripe, inFlight+spares*total),
		hashes: make(chan *stripe, inFlight+spares*total),
		sum:    make(chan [md5.Size]byte, 1),
	}
	if w.fleet.report == nil {
		w.fleet.report = func(int, error) {}
	}
	for i := range total {
		ctx, cancel := context.WithCancel(ctx)
		l := &lane{
			index: i, cancel: cancel, last: time.Now(),
			queue:   make(chan *stripe, inFlight+spares*total+1),
			verdict: make(chan struct{}, 1),
		}
		w.fleet.lanes = append(w.fleet.lanes, l)
		e.chunks.Go(func() { l.run(ctx, w.fleet, sink.Create) })
	}
	e.chunks.Go(w.hash)
	return w
}

// stripe returns an empty stripe, waiting until one is free.
func (w *write) stripe() (st *stripe, err error) {
	err = w.fleet.await(w.ctx, func() bool {
		select {
		case st = <-w.free:
			return true
		default:
		}
		good, _ := w.fleet.count()
		if w.made == inFlight+spares*(w.scheme.Total()-good) {
			return false
		}
		w.made++
		st = w.engine.getStripe(w.scheme)
		st.home = w.home
		return true
	})
	if err != nil {
		return nil, err
	}
	st.refs.Store(1)
	return st, nil
}

func (w *write) home(st *stripe) {
	w.free <- st
	w.fleet.poke()
}

// put codes a stripe of n payload bytes and passes it on.
func (w *write) put(st *stripe, n int) error {
	defer st.release()
	if n == 0 {
		return nil
	}
	st.cut(w.scheme, n)
	st.refs.Add(1)
	w.hashes <- st
	if err := w.coder.Encode(st.shards); err != nil {
		return err
	}
	w.fleet.send(st)
	return nil
}

func (w *write) hash() {
	h := md5.New()
	for st := range w.hashes {
		h.Write(st.buf[:st.n])
		st.release()
	}
	w.sum <- [md5.Size]byte(h.Sum(nil))
}

// endStripes says that no stripe follows and returns the MD5 of all payload.
func (w *write) endStripes() [md5.Size]byte {
	close(w.hashes)
	for _, l := range w.fleet.lanes {
		close(l.queue)
	}
	return <-w.sum
}

// learn takes note of the slowest step of a lane that kept up.
func (w *write) learn() {
	w.fleet.mu.Lock()
	slowest := w.fleet.slowest
	w.fleet.mu.Unlock()
	w.engine.writes.learn(slowest)
}

// reclaim gives the stripes that are home back to the engine. What a dead lane
// still holds is left to the garbage collector.
func (w *write) reclaim() {
	for {
		select {
		case st := <-w.free:
			st.home = nil
			w.engine.stripes[w.scheme.Total()].Put(st)
		default:
			return
		}
	}
}
