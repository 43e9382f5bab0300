package metadata

import (
	"sync"

	"github.com/hashicorp/raft"
)

// AppendEntriesPipeline implements raft.Transport, with a defect taken out. Once
// a follower refuses an append or its stream breaks, Raft stops to listen to the
// pipeline's answers; if it happens to send one more before it looks, the sender
// waits for ever for somebody who listens. The leader goes on with its heartbeats
// and never sends that follower another entry, and shutting down waits for the
// sender.
func (t *transport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	p, err := t.networkTransport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	return newPipeline(p, func(args *raft.AppendEntriesRequest) error {
		if err := t.silence(); err != nil {
			return err
		}
		return t.hold(id, args)
	}), nil
}

// pipeline closes itself after the first answer that ends it, so that nobody
// can wait in it.
type pipeline struct {
	raft.AppendPipeline
	hold    func(*raft.AppendEntriesRequest) error
	answers chan raft.AppendFuture
	done    chan struct{}
	close   func() error
}

func newPipeline(p raft.AppendPipeline, hold func(*raft.AppendEntriesRequest) error) *pipeline {
	own := &pipeline{AppendPipeline: p, hold: hold, answers: make(chan raft.AppendFuture), done: make(chan struct{})}
	own.close = sync.OnceValue(func() error {
		close(own.done)
		return p.Close()
	})
	go own.forward() // until Close, which Raft always calls
	return own
}

func (p *pipeline) forward() {
	for {
		select {
		case f := <-p.AppendPipeline.Consumer():
			select {
			case p.answers <- f:
			case <-p.done:
				return
			}
			if !f.Response().Success { // nor is it after an error
				_ = p.Close()
				return
			}
		case <-p.done:
			return
		}
	}
}

// AppendEntries implements raft.AppendPipeline.
func (p *pipeline) AppendEntries(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	if err := p.hold(args); err != nil {
		return nil, err
	}
	return p.AppendPipeline.AppendEntries(args, resp)
}

// Consumer implements raft.AppendPipeline.
func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.answers }

// Close implements raft.AppendPipeline.
func (p *pipeline) Close() error { return p.close() }
