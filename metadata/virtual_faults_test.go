package metadata

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"
)

// A fault strikes once and is over when it returns.
type fault struct {
	name   string
	weight int
	strike func(*world, *rand.Rand)
}

var faults = []fault{
	{"crash", 6, (*world).strikeCrash},
	{"power loss of all", 1, (*world).strikePower},
	{"restart", 3, (*world).strikeRestart},
	{"isolation", 3, (*world).strikeIsolation},
	{"one-way cut", 4, (*world).strikeOneWay},
	{"partition", 3, (*world).strikePartition},
	{"storm", 4, (*world).strikeStorm},
	{"streams reset", 3, (*world).strikeReset},
	{"streams repeated", 3, (*world).strikeRepeat},
	{"leadership transfer", 3, (*world).strikeTransfer},
	{"clock jump", 3, (*world).strikeJump},
	{"demotion", 1, (*world).strikeDemotion},
	{"wiped disk", 2, (*world).strikeWipe},
}

// haunt lets faults strike until ctx ends and those under way are over.
func (w *world) haunt(ctx context.Context, rng *rand.Rand) {
	total := 0
	for _, f := range faults {
		total += f.weight
	}
	for ctx.Err() == nil {
		time.Sleep(w.upTo(rng, 4*time.Second))
		n := rng.IntN(total)
		at := slices.IndexFunc(faults, func(f fault) bool {
			n -= f.weight
			return n < 0
		})
		own := rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64()))
		w.striking.Go(func() { faults[at].strike(w, own) })
	}
	w.striking.Wait()
}

// upTo is a random time, slowed to the world's pace.
func (w *world) upTo(rng *rand.Rand, d time.Duration) time.Duration {
	return time.Duration(rng.Int64N(int64(d * w.pace)))
}

// victim picks a process that nothing else is done to; done lets it go.
func (w *world) victim(rng *rand.Rand) (p *process, done func()) {
	all := w.running()
	if len(all) == 0 {
		return nil, nil
	}
	p = all[rng.IntN(len(all))]
	if rng.IntN(3) == 0 { // leaders suffer most
		if l := w.leaders(); len(l) > 0 {
			p = l[0]
		}
	}
	if !p.node.busy.TryLock() {
		return nil, nil
	}
	if p.node.up() != p {
		p.node.busy.Unlock()
		return nil, nil
	}
	return p, p.node.busy.Unlock
}

func (w *world) strikeCrash(rng *rand.Rand) {
	p, done := w.victim(rng)
	if p == nil {
		return
	}
	defer done()
	in := 0
	if rng.IntN(4) > 0 {
		in = 1 + rng.IntN(1<<rng.IntN(9))
	}
	w.crash(p, in, w.upTo(rng, 5*time.Second), 3*time.Second*w.pace)
	time.Sleep(w.upTo(rng, 8*time.Second))
	w.start(p.node)
}

func (w *world) strikePower(rng *rand.Rand) {
	var down []*virtualNode
	for _, p := range w.running() {
		if p.node.busy.TryLock() {
			if p.node.up() != p {
				p.node.busy.Unlock()
				continue
			}
			down = append(down, p.node)
			w.crash(p, 0, 0, 0)
		}
	}
	w.hit("power loss of all")
	time.Sleep(w.upTo(rng, 3*time.Second))
	for _, n := range down {
		w.start(n)
		n.busy.Unlock()
	}
}

func (w *world) strikeRestart(rng *rand.Rand) {
	p, done := w.victim(rng)
	if p == nil {
		return
	}
	defer done()
	w.hit("restart")
	w.stop(p)
	time.Sleep(w.upTo(rng, 3*time.Second))
	w.start(p.node)
}

// blockFor cuts the links from every node of one list to every one of another.
func (w *world) blockFor(d time.Duration, from, to []*virtualNode, bothWays bool) {
	var links []link
	for _, a := range from {
		for _, b := range to {
			links = append(links, link{a.id, b.id})
			if bothWays {
				links = append(links, link{b.id, a.id})
			}
		}
	}
	heal := w.net.block(links...)
	time.Sleep(d)
	heal()
}

// split puts the nodes in two lists, the first of which has n.
func (w *world) split(rng *rand.Rand, n int) (some, others []*virtualNode) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := slices.Clone(w.nodes)
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:n], all[n:]
}

func (w *world) strikeIsolation(rng *rand.Rand) {
	one, others := w.split(rng, 1)
	if l := w.leaders(); len(l) > 0 && rng.IntN(2) == 0 {
		one = []*virtualNode{l[0].node}
		others = slices.DeleteFunc(append(others, w.running()[0].node), func(n *virtualNode) bool { return n == one[0] })
	}
	w.hit("isolation")
	w.blockFor(w.upTo(rng, 6*time.Second), one, others, true)
}

func (w *world) strikeOneWay(rng *rand.Rand) {
	one, others := w.split(rng, 1)
	if rng.IntN(2) == 0 {
		one, others = others, one
	}
	if rng.IntN(2) == 0 {
		one, others = one[:1], others[:1]
	}
	w.hit("one-way cut")
	w.blockFor(w.upTo(rng, 8*time.Second), one, others, false)
}

func (w *world) strikePartition(rng *rand.Rand) {
	w.mu.Lock()
	n := len(w.nodes) / 2
	w.mu.Unlock()
	some, others := w.split(rng, n)
	w.hit("partition")
	w.blockFor(w.upTo(rng, 6*time.Second), some, others, true)
}

func (w *world) strikeStorm(rng *rand.Rand) {
	w.hit("storm")
	w.net.setWeather(weather{
		delay: 1 + w.upTo(rng, 200*time.Millisecond), loss: rng.Float64() / 3, twin: rng.Float64() / 3,
		late: 1 + w.upTo(rng, 5*time.Second),
	})
	time.Sleep(w.upTo(rng, 10*time.Second))
	w.net.setWeather(w.calm)
}

func (w *world) strikeReset(rng *rand.Rand) {
	for range 1 + rng.IntN(5) {
		w.net.resetOne()
		time.Sleep(w.upTo(rng, 500*time.Millisecond))
	}
}

func (w *world) strikeRepeat(rng *rand.Rand) {
	for range 1 + rng.IntN(5) {
		w.net.speakAgain(w.pace * time.Second)
		time.Sleep(w.upTo(rng, 500*time.Millisecond))
	}
}

func (w *world) strikeTransfer(*rand.Rand) {
	for _, p := range w.leaders() {
		ctx, cancel := context.WithTimeout(context.Background(), w.pace*time.Second)
		if p.TransferLeadership(ctx) == nil {
			w.hit("leadership transfer")
		}
		cancel()
	}
}

func (w *world) strikeJump(rng *rand.Rand) {
	p, done := w.victim(rng)
	if p == nil {
		return
	}
	defer done()
	if rng.IntN(2) == 0 {
		w.hit("clock jump forward")
		p.node.jump.Add(int64(time.Hour))
	} else {
		w.hit("clock jump back")
		p.node.jump.Add(-int64(time.Hour))
	}
}

func (w *world) strikeDemotion(rng *rand.Rand) {
	all := w.running()
	if len(all) < 2 || !w.wiping.TryLock() {
		return
	}
	defer w.wiping.Unlock()
	who := all[rng.IntN(len(all))].node.id
	if err := change(all[0], MembersChange{Verb: MembersDemote, Node: who}); err != nil {
		return // refused, or nobody leads
	}
	w.hit("demotion")
	w.retry(settled)
	w.retry(func(p *process) error {
		err := change(p, MembersChange{Verb: MembersPromote, Node: who})
		if errors.Is(err, ErrMembersUnsafe) {
			err = nil // others have its vote by now
		}
		return err
	})
	w.retry(settled)
}

// change asks a process for a change of membership on what it is now.
func change(p *process, c MembersChange) error {
	m, err := p.Members(context.Background())
	if err != nil {
		return err
	}
	c.Version = m.Version
	return p.ChangeMembers(context.Background(), c)
}

// settled is nil once the leader has nothing left to change.
func settled(p *process) error {
	m, err := p.Members(context.Background())
	if err == nil && !m.Settled {
		err = ErrMembersChanged
	}
	return err
}

// strikeWipe takes a node's disk and has a new node take its place, as an
// operator would. The next one waits until that is done and the new node votes:
// a majority that has lost its disks has lost its memory.
func (w *world) strikeWipe(rng *rand.Rand) {
	if !w.wiping.TryLock() {
		return
	}
	defer w.wiping.Unlock()
	p, done := w.victim(rng)
	if p == nil {
		return
	}
	w.hit("wiped disk")
	w.crash(p, 0, w.upTo(rng, time.Second), 0)
	w.mu.Lock()
	w.nodes = slices.DeleteFunc(w.nodes, func(n *virtualNode) bool { return n == p.node })
	w.mu.Unlock()
	done()
	old, fresh := p.node.id, w.add()
	w.retry(func(any *process) error { return any.AddMember(context.Background(), fresh.id, 1) })
	w.retry(func(any *process) error {
		return change(any, MembersChange{Verb: MembersRemove, Node: old, Force: true})
	})
	w.retry(settled)
}

// retry asks one running process after another until one does it.
func (w *world) retry(do func(*process) error) {
	end := time.Now().Add(20 * time.Minute * w.pace) // faults are over long before
	var last error
	for i := 0; ; i++ {
		if time.Now().After(end) {
			w.t.Errorf("seed %d: no change of membership possible: %v\n%s", w.seed, last, w.describe())
			return
		}
		if all := w.running(); len(all) > 0 {
			last = do(all[i%len(all)])
			if last == nil || errors.Is(last, ErrInvalid) { // it is so already
				return
			}
		}
		time.Sleep(100 * time.Millisecond * w.pace)
	}
}
