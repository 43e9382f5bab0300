package history

import (
	"slices"
	"sync"
	"time"
)

// Recorder collects the operations of concurrent clients.
type Recorder struct {
	start time.Time // its monotonic reading is the clock of the history

	mu      sync.Mutex
	clients int
	open    map[*Pending]struct{}
	done    []Operation
}

// NewRecorder returns an empty recorder. Its clock begins now.
func NewRecorder() *Recorder {
	return &Recorder{start: time.Now(), open: make(map[*Pending]struct{})}
}

// Client is one sequential caller: it begins an operation only after it ended
// the one before.
type Client struct {
	r  *Recorder
	id int
}

// Client returns a new client.
func (r *Recorder) Client() *Client {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clients++
	return &Client{r: r, id: r.clients - 1}
}

// Pending is an operation that has been called and has not returned.
type Pending struct {
	c  *Client
	op Operation
}

// Begin notes the call of an operation; make the request after it.
func (c *Client) Begin(in Input) *Pending {
	p := &Pending{c: c, op: Operation{Client: c.id, Input: in, Return: Never}}
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	p.op.Call = int64(time.Since(c.r.start))
	c.r.open[p] = struct{}{}
	return p
}

// End notes the answer. A client that does not know the outcome goes on as
// another one, for its operation has not ended.
func (p *Pending) End(out Output) {
	r := p.c.r
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, p)
	p.op.Output = out
	if out.Outcome != Unknown {
		p.op.Return = int64(time.Since(r.start))
		r.done = append(r.done, p.op)
		return
	}
	p.c.id, r.clients = r.clients, r.clients+1
	if mayHaveHappened(p.op.Input.Kind) {
		r.done = append(r.done, p.op)
	}
}

// mayHaveHappened reports whether an operation without an answer belongs to
// the history. Reads changed nothing, and the ID of an upload that nobody was
// told can appear nowhere else.
func mayHaveHappened(k Kind) bool { return !k.Reads() && k != Initiate }

// History returns the operations so far by their calls. Those under way have
// unknown outcomes.
func (r *Recorder) History() []Operation {
	r.mu.Lock()
	defer r.mu.Unlock()
	ops := slices.Clone(r.done)
	for p := range r.open {
		if mayHaveHappened(p.op.Input.Kind) {
			ops = append(ops, p.op)
		}
	}
	slices.SortFunc(ops, func(a, b Operation) int { return int(a.Call - b.Call) })
	return ops
}

// Now is the time of the recorder's clock.
func (r *Recorder) Now() int64 { return int64(time.Since(r.start)) }
