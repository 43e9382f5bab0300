package metadata

import (
	"context"
	"errors"
	"sync"
)

// packsInFlight is how many packs a node has on their way at once. While they
// are, newcomers collect into the next ones: packs grow with load, and an idle
// registry waits for nobody.
const packsInFlight = 2

// maxQueued bounds the commands that wait for a pack. Every one of them has a
// caller, so this is a bound on callers.
const maxQueued = 64 << 10

var errBusy = errors.New("too many commands are waiting")

// outcome is what became of a command. With err the result is not known: the
// command may or may not have been, or still be, applied.
type outcome struct {
	result result
	err    error
}

// waiting is a command that waits for its outcome.
type waiting struct {
	ctx     context.Context //nolint:containedctx // of the one caller who waits for this value
	command []byte
	done    chan outcome // room for one
}

func answerAll(pack []*waiting, err error) {
	for _, w := range pack {
		w.done <- outcome{err: err}
	}
}

// packer collects commands of many callers into packs.
type packer struct {
	ctx   context.Context //nolint:containedctx // its life, not a call's
	flush func(pack []*waiting)
	wake  chan struct{}

	mu    sync.Mutex
	queue []*waiting
}

// newPacker starts workers that call flush, each for one pack at a time, until
// ctx ends. flush must answer every command of its pack.
func newPacker(ctx context.Context, wg *sync.WaitGroup, workers int, flush func([]*waiting)) *packer {
	p := &packer{ctx: ctx, flush: flush, wake: make(chan struct{}, workers)}
	for range workers {
		wg.Go(p.work)
	}
	return p
}

func (p *packer) work() {
	for {
		select {
		case <-p.wake:
		case <-p.ctx.Done():
			return
		}
		for pack := p.take(); len(pack) > 0; pack = p.take() {
			p.flush(pack)
		}
	}
}

// take removes the next pack from the queue, leaving out callers who left.
func (p *packer) take() (pack []*waiting) {
	p.mu.Lock()
	defer p.mu.Unlock()
	bytes, n := 0, 0
	for _, w := range p.queue {
		size := len(w.command)
		if len(pack) == maxPackCommands || len(pack) > 0 && bytes+size > maxPackBytes {
			break
		}
		n++
		if w.ctx.Err() == nil {
			pack = append(pack, w)
			bytes += size
		}
	}
	clear(p.queue[:n])
	p.queue = p.queue[n:]
	if len(p.queue) == 0 {
		p.queue = nil
	} else {
		p.notify()
	}
	return pack
}

func (p *packer) notify() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// submit queues commands and waits for all their outcomes.
func (p *packer) submit(ctx context.Context, commands ...[]byte) []outcome {
	all := make([]*waiting, len(commands))
	for i, b := range commands {
		all[i] = &waiting{ctx: ctx, command: b, done: make(chan outcome, 1)}
	}
	p.mu.Lock()
	if len(p.queue)+len(all) > maxQueued {
		p.mu.Unlock()
		answerAll(all, errBusy)
	} else {
		p.queue = append(p.queue, all...)
		p.notify()
		p.mu.Unlock()
	}
	outcomes := make([]outcome, len(all))
	for i, w := range all {
		select {
		case outcomes[i] = <-w.done:
		case <-ctx.Done():
			outcomes[i].err = ctx.Err()
		case <-p.ctx.Done():
			outcomes[i].err = context.Cause(p.ctx)
		}
	}
	return outcomes
}
