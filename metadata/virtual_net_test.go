package metadata

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"partstore/internal/layout"
)

// virtualNet joins registries in a synctest bubble. It delays, loses, repeats
// and reorders calls, holds back and resets streams, and sends what a stream
// once carried again. Everything blocks on channels, so virtual time goes on.
type virtualNet struct {
	mu      sync.Mutex
	rng     *rand.Rand
	hosts   map[layout.NodeID]*virtualHost
	weather weather
	blocked map[link]bool
	changed chan struct{} // closed and replaced when blocked changes
	streams map[*virtualConn]bool
	spoken  []spoken
	hits    map[string]int
	busy    sync.WaitGroup // calls and streams on their own
}

// link is one direction between two nodes.
type link struct{ from, to layout.NodeID }

// weather is what may happen to any message.
type weather struct {
	delay      time.Duration // up to
	loss, twin float64       // probability that a call is lost, or comes twice
	late       time.Duration // a twin comes up to this much later
}

// virtualHost is a process that listens.
type virtualHost struct {
	node   layout.NodeID
	accept chan net.Conn
	done   chan struct{}
	once   sync.Once
	raft   *Raft // nil until it is open
}

// spoken is what a client once sent on a stream, from its begin.
type spoken struct {
	link
	data []byte
}

const (
	maxSpoken           = 64 << 10
	raftInstallSnapshot = 2 // the byte that begins the request
)

var (
	errVirtualReset   = errors.New("virtual connection reset")
	errVirtualRefused = errors.New("virtual connection refused")
	errVirtualLost    = errors.New("virtual host does not answer")
)

func newVirtualNet(rng *rand.Rand) *virtualNet {
	return &virtualNet{
		rng: rng, hosts: map[layout.NodeID]*virtualHost{}, blocked: map[link]bool{},
		changed: make(chan struct{}), streams: map[*virtualConn]bool{}, hits: map[string]int{},
	}
}

func (n *virtualNet) hit(what string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hits[what]++
}

// host makes a process reachable, in place of an earlier one of the node.
func (n *virtualNet) host(node layout.NodeID) *virtualHost {
	h := &virtualHost{node: node, accept: make(chan net.Conn, 64), done: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[node] = h
	return h
}

func (n *virtualNet) opened(h *virtualHost, r *Raft) {
	n.mu.Lock()
	defer n.mu.Unlock()
	h.raft = r
}

// unplug makes a process unreachable. Its streams break: with a sound, as when
// a process is killed, or silently, as when the power fails; then the other
// ends notice only after a while.
func (n *virtualNet) unplug(h *virtualHost, silent time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hosts[h.node] == h {
		delete(n.hosts, h.node)
	}
	for c := range n.streams {
		if c.host != h && c.other.host != h {
			continue
		}
		delete(n.streams, c)
		if c.host == h {
			c.reset()
		} else {
			time.AfterFunc(silent, c.reset)
		}
	}
}

func (n *virtualNet) setWeather(w weather) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.weather = w
}

// block stops messages in the given directions until the returned function is
// called. Streams hold theirs back; calls lose them.
func (n *virtualNet) block(links ...link) (heal func()) {
	set := func(on bool) {
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, l := range links {
			if on {
				n.blocked[l] = true
			} else {
				delete(n.blocked, l)
			}
		}
		close(n.changed)
		n.changed = make(chan struct{})
	}
	set(true)
	return func() { set(false) }
}

// held returns a channel that is closed when the blocking changes, if the link
// is blocked now.
func (n *virtualNet) held(l link) <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.blocked[l] {
		return nil
	}
	return n.changed
}

func (n *virtualNet) delay() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.someDelay(n.weather.delay)
}

func (n *virtualNet) someDelay(most time.Duration) time.Duration {
	return time.Duration(n.rng.Int64N(int64(most) + 1))
}

// passage decides what becomes of one message of a call.
func (n *virtualNet) passage(l link) (delay time.Duration, lost bool, twin time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	w := n.weather
	if n.rng.Float64() < w.twin {
		twin = 1 + n.someDelay(w.late)
	}
	switch {
	case n.blocked[l]:
		n.hits["calls cut"]++
		lost = true
	case n.rng.Float64() < w.loss:
		n.hits["messages lost"]++
		lost = true
	}
	return n.someDelay(w.delay), lost, twin
}

func (n *virtualNet) find(node layout.NodeID) *Raft {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := n.hosts[node]; h != nil {
		return h.raft
	}
	return nil
}

// virtualPeers implements Peers for one process.
type virtualPeers struct {
	net  *virtualNet
	host *virtualHost
}

type virtualHandler func(*Raft, context.Context, []byte) ([]byte, error)

// call sends a request and waits for its answer. A lost message is never
// noticed; a caller who leaves does not take the request back.
func (p virtualPeers) call(ctx context.Context, to layout.NodeID, b []byte, h virtualHandler) ([]byte, error) {
	type reply struct {
		b   []byte
		err error
	}
	there, back := link{p.host.node, to}, link{to, p.host.node}
	replies := make(chan reply, 1)
	p.net.mu.Lock()
	on := p.net.hosts[there.from] == p.host
	p.net.mu.Unlock()
	if !on { // a crashed process speaks to nobody
		<-ctx.Done()
		return nil, ctx.Err()
	}
	b = slices.Clone(b)
	delay, lost, twin := p.net.passage(there)
	if twin > 0 {
		p.net.hit("calls repeated")
		p.net.busy.Go(func() { p.net.deliver(delay+twin, to, b, h) })
	}
	if !lost {
		p.net.busy.Go(func() {
			answer, err := p.net.deliver(delay, to, b, h)
			delay, lost, _ := p.net.passage(back)
			if lost {
				return
			}
			time.Sleep(delay)
			replies <- reply{answer, err}
		})
	}
	select {
	case r := <-replies:
		return r.b, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (n *virtualNet) deliver(delay time.Duration, to layout.NodeID, b []byte, h virtualHandler) ([]byte, error) {
	time.Sleep(delay)
	r := n.find(to)
	if r == nil {
		return nil, errVirtualRefused
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*callTimeout)
	defer cancel()
	answer, err := h(r, ctx, slices.Clone(b))
	if n.find(to) != r {
		return nil, errVirtualRefused // crashed meanwhile
	}
	return answer, err
}

func (p virtualPeers) Propose(ctx context.Context, to layout.NodeID, b []byte) ([]byte, error) {
	return p.call(ctx, to, b, (*Raft).HandlePropose)
}

func (p virtualPeers) ReadIndex(ctx context.Context, to layout.NodeID, b []byte) ([]byte, error) {
	return p.call(ctx, to, b, (*Raft).HandleReadIndex)
}

func (p virtualPeers) Term(ctx context.Context, to layout.NodeID, b []byte) ([]byte, error) {
	return p.call(ctx, to, b, (*Raft).HandleTerm)
}

// virtualStreams implements StreamLayer for one process.
type virtualStreams struct {
	net  *virtualNet
	host *virtualHost
}

func (s virtualStreams) Accept() (net.Conn, error) {
	select {
	case c := <-s.host.accept:
		return c, nil
	case <-s.host.done:
		return nil, net.ErrClosed
	}
}

func (s virtualStreams) Close() error {
	s.host.once.Do(func() { close(s.host.done) })
	return nil
}

func (s virtualStreams) Addr() net.Addr { return serverAddr(server{node: s.host.node}) }

func (s virtualStreams) Dial(to layout.NodeID, timeout time.Duration) (net.Conn, error) {
	there, back := link{s.host.node, to}, link{to, s.host.node}
	if s.net.held(there) != nil || s.net.held(back) != nil {
		s.net.hit("dials cut")
		time.Sleep(timeout)
		return nil, errVirtualLost
	}
	time.Sleep(s.net.delay() + s.net.delay())
	n := s.net
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.hosts[to]
	if h == nil || n.hosts[s.host.node] != s.host {
		return nil, errVirtualRefused
	}
	mine, theirs := n.join(s.host, h)
	mine.record = true
	select {
	case h.accept <- theirs:
		return mine, nil
	default:
		return nil, errVirtualRefused
	}
}

// join makes a stream between two processes. The caller holds n.mu.
func (n *virtualNet) join(a, b *virtualHost) (*virtualConn, *virtualConn) {
	there, back := newVirtualPipe(n, link{a.node, b.node}), newVirtualPipe(n, link{b.node, a.node})
	x := &virtualConn{host: a, in: back, out: there}
	y := &virtualConn{host: b, in: there, out: back}
	x.other, y.other = y, x
	n.streams[x], n.streams[y] = true, true
	return x, y
}

// resetOne breaks a stream with all that is under way in it.
func (n *virtualNet) resetOne() {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []*virtualConn
	for c := range n.streams {
		all = append(all, c)
	}
	if len(all) == 0 {
		return
	}
	c := all[n.rng.IntN(len(all))]
	delete(n.streams, c)
	delete(n.streams, c.other)
	c.reset()
	c.other.reset()
	n.hits["streams reset"]++
}

// speakAgain sends what some stream once carried on a new one, and throws the
// answers away.
func (n *virtualNet) speakAgain(listen time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.spoken) == 0 {
		return
	}
	old := n.spoken[n.rng.IntN(len(n.spoken))]
	from, to := &virtualHost{node: old.from}, n.hosts[old.to]
	if to == nil {
		return
	}
	mine, theirs := n.join(from, to)
	select {
	case to.accept <- theirs:
	default:
		return
	}
	n.hits["streams repeated"]++
	n.busy.Go(func() {
		_, _ = mine.Write(old.data)
		_ = mine.SetReadDeadline(time.Now().Add(listen))
		_, _ = io.Copy(io.Discard, mine)
		_ = mine.Close()
	})
}

// virtualConn is one end of a stream.
type virtualConn struct {
	host    *virtualHost
	in, out *virtualPipe
	other   *virtualConn

	record bool // keep what is written, to be spoken again; guarded by net.mu, as said is
	said   []byte
}

func (c *virtualConn) Read(b []byte) (int, error) { return c.in.read(b) }

func (c *virtualConn) Write(b []byte) (int, error) {
	c.note(b)
	return c.out.write(b)
}

// note keeps what a client says, to be spoken again.
func (c *virtualConn) note(b []byte) {
	n := c.in.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.record {
		// A snapshot is not repeated: TCP could not do that, and Raft does not
		// expect it. Its first byte is the kind of the request.
		if len(c.said)+len(b) > maxSpoken || len(b) > 0 && b[0] == raftInstallSnapshot {
			c.record, c.said = false, nil
		} else {
			c.said = append(c.said, b...)
		}
	}
}

func (c *virtualConn) Close() error {
	c.in.closeReader()
	c.out.closeWriter()
	n := c.in.net
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.streams, c)
	if c.record && len(c.said) > 0 {
		s := spoken{c.out.link, c.said}
		c.record = false
		if len(n.spoken) < 32 {
			n.spoken = append(n.spoken, s)
		} else {
			n.spoken[n.rng.IntN(len(n.spoken))] = s
		}
	}
	return nil
}

func (c *virtualConn) reset() {
	c.in.reset()
	c.out.reset()
}

func (c *virtualConn) LocalAddr() net.Addr               { return serverAddr(server{node: c.out.link.from}) }
func (c *virtualConn) RemoteAddr() net.Addr              { return serverAddr(server{node: c.out.link.to}) }
func (c *virtualConn) SetWriteDeadline(time.Time) error  { return nil } // writes do not block
func (c *virtualConn) SetReadDeadline(t time.Time) error { return c.in.setDeadline(t) }
func (c *virtualConn) SetDeadline(t time.Time) error     { return c.in.setDeadline(t) }

// virtualPipe is one direction of a stream: chunks that arrive in order, each
// at its time, and none while the link is blocked.
type virtualPipe struct {
	net  *virtualNet
	link link

	mu       sync.Mutex
	chunks   []virtualChunk
	deadline time.Time
	broken   bool // both ends fail at once
	deaf     bool // the reader is gone
	changed  chan struct{}
}

type virtualChunk struct {
	at   time.Time
	data []byte // nil: the end
}

func newVirtualPipe(n *virtualNet, l link) *virtualPipe {
	return &virtualPipe{net: n, link: l, changed: make(chan struct{})}
}

// wake tells the reader that something is new. The caller holds p.mu.
func (p *virtualPipe) wake() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *virtualPipe) write(b []byte) (int, error) {
	delay := p.net.delay()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken || p.deaf {
		return 0, errVirtualReset
	}
	p.push(delay, slices.Clone(b))
	return len(b), nil
}

func (p *virtualPipe) push(delay time.Duration, data []byte) {
	at := time.Now().Add(delay)
	if n := len(p.chunks); n > 0 && p.chunks[n-1].at.After(at) {
		at = p.chunks[n-1].at
	}
	p.chunks = append(p.chunks, virtualChunk{at, data})
	p.wake()
}

func (p *virtualPipe) closeWriter() {
	delay := p.net.delay()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.push(delay, nil)
}

func (p *virtualPipe) closeReader() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf = true
	p.wake()
}

func (p *virtualPipe) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = true
	p.wake()
}

func (p *virtualPipe) setDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deadline = t
	p.wake()
	return nil
}

func (p *virtualPipe) read(b []byte) (int, error) {
	for {
		held := p.net.held(p.link)
		p.mu.Lock()
		now, changed, until := time.Now(), p.changed, p.deadline
		switch {
		case p.deaf:
			p.mu.Unlock()
			return 0, net.ErrClosed
		case p.broken:
			p.mu.Unlock()
			return 0, errVirtualReset
		case !until.IsZero() && !now.Before(until):
			p.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		}
		if held == nil && len(p.chunks) > 0 {
			if c := &p.chunks[0]; !now.Before(c.at) {
				if c.data == nil {
					p.mu.Unlock()
					return 0, io.EOF
				}
				n := copy(b, c.data)
				if c.data = c.data[n:]; len(c.data) == 0 {
					p.chunks = p.chunks[1:]
				}
				p.mu.Unlock()
				return n, nil
			} else if until.IsZero() || c.at.Before(until) {
				until = c.at
			}
		}
		stalled := held != nil && len(p.chunks) > 0
		p.mu.Unlock()
		if stalled {
			p.net.hit("streams held")
		}
		p.wait(until, changed, held)
	}
}

func (p *virtualPipe) wait(until time.Time, changed, held <-chan struct{}) {
	var timeout <-chan time.Time
	if !until.IsZero() {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-changed:
	case <-held:
	case <-timeout:
	}
}
