package chunkstore

import "sync"

// batcher makes many wait for one: what is added while a batch is being done
// is done together in the next, never in the running one, which may have
// missed it. There is no timer; the first of a batch does it for all.
type batcher[T any] struct {
	do func(items []T) error

	running sync.Mutex // held while a batch is done
	mu      sync.Mutex
	next    *batch[T] // the batch that has not begun, or nil
}

type batch[T any] struct {
	items []T
	done  chan struct{}
	err   error // set before done is closed
}

// add returns when a batch with the item in it has been done.
func (b *batcher[T]) add(item T) error {
	b.mu.Lock()
	mine := b.next
	first := mine == nil
	if first {
		mine = &batch[T]{done: make(chan struct{})}
		b.next = mine
	}
	mine.items = append(mine.items, item)
	b.mu.Unlock()
	if !first {
		<-mine.done
		return mine.err
	}
	b.running.Lock()
	defer b.running.Unlock()
	b.mu.Lock()
	b.next = nil // from here on, items go to another batch
	b.mu.Unlock()
	mine.err = b.do(mine.items)
	close(mine.done)
	return mine.err
}
