// Package simulation asks internal/layout, with the functions a cluster uses, how
// a fleet of any size would fare: how evenly slots lie, what moves when capacity comes
// or goes, what is lost when much dies at once, and how long healing takes. There is
// no cluster, no I/O and no clock; the same seed gives the same answers.
package simulation

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"partstore/internal/layout"
)

// Input is a fleet of equal stores, and what happens to it.
type Input struct {
	Scheme        layout.Scheme
	Zones         int
	Nodes         int // dealt to the zones in turn
	StoresPerNode int
	Groups        int
	RackNodes     int // nodes of a zone that die together; layout knows no racks
	Draws         int // of what dies, for each kind
	Seed          uint64

	StoreCapacity int64 // bytes
	StoreBytes    int64 // of chunks on a store
	NodeBandwidth int64 // bytes a second, each way
}

// Result is what came of it.
type Result struct {
	Seed          uint64        `json:"seed"`
	Scheme        layout.Scheme `json:"scheme"`
	Zones         int           `json:"zones"`
	Nodes         int           `json:"nodes"`
	Stores        int           `json:"stores"`
	Groups        int           `json:"groups"`
	RackNodes     int           `json:"rack_nodes"`
	StoreCapacity int64         `json:"store_capacity_bytes"`
	StoreBytes    int64         `json:"store_bytes"`
	NodeBandwidth int64         `json:"node_bytes_per_second"`

	Drawn    Spread    `json:"drawn"`    // by NewGroups
	Balanced Spread    `json:"balanced"` // after it, in a new cluster
	Grown    Movement  `json:"grown"`    // one node of a hundred more
	Shrunk   Movement  `json:"shrunk"`   // one node of a hundred less
	Failures []Failure `json:"failures"`
}

// Spread is how many slots stores have, in hundredths of what their capacity
// entitles them to, but for the mean.
type Spread struct {
	Mean      float64 `json:"mean_slots"`
	Min       float64 `json:"min_percent"`
	Max       float64 `json:"max_percent"`
	Deviation float64 `json:"deviation_percent"`
}

// Movement is what a change of capacity moves.
type Movement struct {
	Nodes  int     `json:"nodes"`
	Slots  int     `json:"slots"`
	Share  float64 `json:"share_slots"` // of what came, or all of what went: what has to move, but for whole slots
	Bytes  int64   `json:"bytes"`
	Stuck  int     `json:"stuck_slots"` // that no store can take
	Spread Spread  `json:"spread"`      // afterwards
}

// Failure is what dies at once.
type Failure struct {
	Kind    string  `json:"kind"` // zone, rack or nodes
	Nodes   int     `json:"nodes"`
	Slots   int     `json:"slots"`         // gone
	Lost    int     `json:"lost"`          // groups with more slots gone than the scheme has parity
	AtRisk  int     `json:"at_risk"`       // groups with just as many: the next one loses them
	Reduced int     `json:"reduced"`       // groups with fewer, but some
	Stuck   int     `json:"stuck"`         // slots of groups not lost that no store can take
	Seconds float64 `json:"seconds"`       // until the busiest node has done its share of healing
	Busiest int64   `json:"busiest_bytes"` // what that one gets or sends, the more of the two
}

// Validate reports an input no fleet can be made of.
func (in Input) Validate() error {
	if err := in.Scheme.Validate(); err != nil {
		return err
	}
	for _, n := range []int64{
		int64(in.Zones), int64(in.StoresPerNode), int64(in.Groups), int64(in.RackNodes), int64(in.Draws),
		in.StoreCapacity, in.StoreBytes, in.NodeBandwidth,
	} {
		if n < 1 {
			return fmt.Errorf("%d: want at least 1 of everything", n)
		}
	}
	if in.Nodes < in.Zones || in.Nodes <= in.Scheme.Total() {
		return fmt.Errorf("%d nodes: want at least one for each zone, and one more than the %d slots of a group", in.Nodes, in.Scheme.Total())
	}
	if int64(in.Groups) > math.MaxInt32 || int64(in.Nodes)*int64(in.StoresPerNode) > math.MaxInt32 {
		return fmt.Errorf("too many groups or stores: want at most %d", math.MaxInt32)
	}
	return nil
}

// fleet is a fleet and the numbers of its nodes.
type fleet struct {
	Input
	say      func(string)
	random   *rand.Rand
	stores   []layout.Candidate
	node     map[layout.StoreID]int
	zone     []int // by node
	groups   []layout.Group
	slotSize float64 // bytes
}

// Run simulates. It calls say whenever it begins or goes on with something that
// takes long at full size.
func Run(ctx context.Context, in Input, say func(doing string)) (Result, error) {
	if err := in.Validate(); err != nil {
		return Result{}, err
	}
	f := &fleet{Input: in, say: say, random: rand.New(rand.NewPCG(in.Seed, 0)), node: map[layout.StoreID]int{}}
	for range in.Nodes {
		f.add()
	}
	r := Result{
		Seed: in.Seed, Scheme: in.Scheme, Zones: in.Zones, Nodes: in.Nodes, Stores: len(f.stores), Groups: in.Groups, RackNodes: in.RackNodes,
		StoreCapacity: in.StoreCapacity, StoreBytes: in.StoreBytes, NodeBandwidth: in.NodeBandwidth,
	}
	f.slotSize = float64(in.StoreBytes) * float64(len(f.stores)) / (float64(in.Groups) * float64(in.Scheme.Total()))
	say("drawing groups")
	var err error
	if f.groups, err = layout.NewGroups(in.Scheme, f.stores, in.Groups); err != nil {
		return r, err
	}
	p := f.plan(nil)
	r.Drawn = f.spread(p, nil)
	if _, err := f.balance(ctx, p, "balancing new groups"); err != nil {
		return r, err
	}
	f.groups = p.Groups
	r.Balanced = f.spread(p, nil)
	if r.Shrunk, err = f.shrink(ctx); err != nil {
		return r, err
	}
	if r.Failures, err = f.failures(ctx); err != nil {
		return r, err
	}
	r.Grown, err = f.grow(ctx) // last: it adds nodes
	return r, err
}

// add adds a node to the fleet.
func (f *fleet) add() {
	n := len(f.zone)
	f.zone = append(f.zone, n%f.Zones)
	var node layout.NodeID
	f.fill(node[:])
	for range f.StoresPerNode {
		c := layout.Candidate{Node: node, Zone: fmt.Sprintf("zone%d", n%f.Zones), CapacityBytes: f.StoreCapacity}
		f.fill(c.Store[:])
		f.stores = append(f.stores, c)
		f.node[c.Store] = n
	}
}

func (f *fleet) fill(b []byte) {
	for i := range b {
		b[i] = byte(f.random.Uint32())
	}
}

// plan is for the groups and the stores of nodes that are not gone.
func (f *fleet) plan(gone map[int]bool) *layout.Plan {
	l := layout.Fleet{Places: map[layout.StoreID]layout.Candidate{}}
	for _, c := range f.stores {
		l.Places[c.Store] = c
		if !gone[f.node[c.Store]] {
			l.Takers = append(l.Takers, c)
		}
	}
	return l.Plan(f.groups)
}

// balance applies changes until there is none, and returns how many.
func (f *fleet) balance(ctx context.Context, p *layout.Plan, doing string) (n int, err error) {
	for c, ok := p.Balance(); ok; c, ok = p.Balance() {
		p.Apply(c)
		if n++; n%256 == 0 {
			f.say(fmt.Sprintf("%s, %d slots moved", doing, n))
			if err := ctx.Err(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

func (f *fleet) spread(p *layout.Plan, gone map[int]bool) Spread {
	var held []float64
	sum := 0.0
	for _, c := range f.stores {
		if !gone[f.node[c.Store]] {
			held = append(held, float64(p.Held(c.Store)))
			sum += float64(p.Held(c.Store))
		}
	}
	mean, squares := sum/float64(len(held)), 0.0
	for _, h := range held {
		squares += (h - mean) * (h - mean)
	}
	percent := func(h float64) float64 { return 100 * h / mean }
	return Spread{
		Mean: mean, Min: percent(slices.Min(held)), Max: percent(slices.Max(held)),
		Deviation: percent(math.Sqrt(squares / float64(len(held)))),
	}
}

// hundredth is how many nodes one in a hundred are.
func (f *fleet) hundredth() int { return max(1, (f.Nodes+50)/100) }

func (f *fleet) grow(ctx context.Context) (m Movement, err error) {
	m.Nodes = f.hundredth()
	for range m.Nodes {
		f.add()
	}
	p := f.plan(nil)
	if m.Slots, err = f.balance(ctx, p, "balancing with more nodes"); err != nil {
		return m, err
	}
	m.Share = float64(f.Groups*f.Scheme.Total()) * float64(m.Nodes) / float64(len(f.zone))
	m.Bytes, m.Spread = f.bytes(m.Slots), f.spread(p, nil)
	return m, nil
}

func (f *fleet) bytes(slots int) int64 { return int64(float64(slots) * f.slotSize) }

// shrink drains nodes: their slots go to others, and what that leaves uneven is
// evened out.
func (f *fleet) shrink(ctx context.Context) (m Movement, err error) {
	gone := f.someNodes()
	m.Nodes = len(gone)
	p := f.plan(gone)
	for i, g := range f.groups {
		for slot, s := range g.Slots {
			if !gone[f.node[s]] {
				continue
			}
			m.Share++
			to, ok := p.Successor(g.ID, uint8(slot))
			if !ok {
				m.Stuck++
				continue
			}
			p.Apply(layout.Change{Group: g, Slot: uint8(slot), To: to})
			m.Slots++
		}
		if i%4096 == 0 {
			f.say("giving the slots of drained nodes to others")
			if err := ctx.Err(); err != nil {
				return m, err
			}
		}
	}
	n, err := f.balance(ctx, p, "balancing with fewer nodes")
	m.Slots += n
	m.Bytes, m.Spread = f.bytes(m.Slots), f.spread(p, gone)
	return m, err
}

// someNodes are one in a hundred.
func (f *fleet) someNodes() map[int]bool {
	nodes := map[int]bool{}
	for len(nodes) < f.hundredth() {
		nodes[f.random.IntN(f.Nodes)] = true
	}
	return nodes
}

// domain are the nodes of a random zone, or a rack of it: nodes that came to it
// one after the other.
func (f *fleet) domain(rack bool) map[int]bool {
	zone := f.random.IntN(f.Zones)
	var there []int
	for n, z := range f.zone {
		if z == zone {
			there = append(there, n)
		}
	}
	if rack {
		first := f.random.IntN((len(there)+f.RackNodes-1)/f.RackNodes) * f.RackNodes
		there = there[first:min(first+f.RackNodes, len(there))]
	}
	nodes := map[int]bool{}
	for _, n := range there {
		nodes[n] = true
	}
	return nodes
}

func (f *fleet) failures(ctx context.Context) (all []Failure, err error) {
	kinds := []struct {
		name string
		draw func() map[int]bool
	}{
		{"zone", func() map[int]bool { return f.domain(false) }},
		{"rack", func() map[int]bool { return f.domain(true) }},
		{"nodes", f.someNodes},
	}
	for _, k := range kinds {
		for i := range f.Draws {
			f.say(fmt.Sprintf("failure of a %s, draw %d", k.name, i+1))
			one, err := f.fail(ctx, k.draw())
			if err != nil {
				return nil, err
			}
			one.Kind = k.name
			all = append(all, one)
		}
	}
	return all, nil
}

// fail counts what is lost with the nodes that are gone, and heals the rest: first
// the groups that lost most, as a cluster does. A new holder gets as many
// chunks of another slot as the scheme has data shards, and makes its own of them.
func (f *fleet) fail(ctx context.Context, gone map[int]bool) (r Failure, err error) {
	r.Nodes = len(gone)
	dead := map[layout.StoreID]bool{}
	for _, c := range f.stores {
		if gone[f.node[c.Store]] {
			dead[c.Store] = true
		}
	}
	parity := int(f.Scheme.Parity)
	heal := make([][]layout.GroupID, parity+1) // by slots gone
	for _, g := range f.groups {
		n := 0
		for _, s := range g.Slots {
			if dead[s] {
				n++
			}
		}
		r.Slots += n
		switch {
		case n > parity:
			r.Lost++
			continue
		case n == parity:
			r.AtRisk++
		case n > 0:
			r.Reduced++
		}
		if n > 0 {
			heal[n] = append(heal[n], g.ID)
		}
	}
	p := f.plan(gone)
	gets, sends := make([]int, len(f.zone)), make([]int, len(f.zone)) // slots, by node
	for n := parity; n > 0; n-- {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		for _, id := range heal[n] {
			f.heal(p, id, dead, gets, sends, &r)
		}
	}
	busiest := max(slices.Max(gets), slices.Max(sends))
	r.Busiest = f.bytes(busiest)
	r.Seconds = float64(r.Busiest) / float64(f.NodeBandwidth)
	return r, nil
}

func (f *fleet) heal(p *layout.Plan, id layout.GroupID, dead map[layout.StoreID]bool, gets, sends []int, r *Failure) {
	g := p.Groups[id]
	var sound []int // nodes that have chunks
	for _, s := range g.Slots {
		if !dead[s] {
			sound = append(sound, f.node[s])
		}
	}
	for slot, s := range g.Slots {
		if !dead[s] {
			continue
		}
		to, ok := p.Successor(id, uint8(slot))
		if !ok {
			r.Stuck++
			continue
		}
		p.Apply(layout.Change{Group: g, Slot: uint8(slot), To: to})
		gets[f.node[to]] += int(f.Scheme.Data)
		for i := range int(f.Scheme.Data) { // of those that have it, begin with another each time
			sends[sound[(int(id)+slot+i)%len(sound)]]++
		}
	}
}
