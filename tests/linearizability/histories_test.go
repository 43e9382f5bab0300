package linearizability

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"partstore/internal/history"
	"partstore/internal/testrand"
)

const (
	historiesPerRound = 4
	faultsPerRound    = 2
	strikeWindow      = 4 * time.Second // in which the faults of a round begin
	aftermath         = time.Second     // clients go on after everything healed
	leastAnswers      = 60              // a history with fewer does not count
	thawDelay         = 50 * time.Millisecond
	checkTimeout      = 2 * time.Minute // for one history
)

// fault is one fault of a round, as planned.
type fault struct {
	kind      kind
	at, lasts time.Duration
	seed      uint64
}

// plan makes the faults of a round. Every kind has its turn before any has a
// second one.
func plan(seed uint64, round int, available []kind) (faults []fault) {
	for i := range faultsPerRound {
		turn := round*faultsPerRound + i
		deck := rand.New(rand.NewPCG(seed, uint64(turn/len(available)))).Perm(len(available))
		rnd := rand.New(rand.NewPCG(seed, uint64(1_000_000+turn)))
		k := available[deck[turn%len(available)]]
		faults = append(faults, fault{
			kind:  k,
			at:    time.Duration(rnd.Int64N(int64(strikeWindow))),
			lasts: k.least + time.Duration(rnd.Int64N(int64(k.most-k.least))),
			seed:  rnd.Uint64(),
		})
	}
	return faults
}

// tally is what a run did and found.
type tally struct {
	rounds, counted, thin int
	answers               map[history.Outcome]int
	probes, elections     int
	tried, hit            map[string]int
}

func TestHistoriesAreLinearizable(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes")
	}
	seed := testrand.Seed(t)
	available := slices.Clone(kinds)
	if noNetwork != nil {
		available = slices.DeleteFunc(available, func(k kind) bool { return k.needs == needsNetwork })
		loudly("SKIPPED: cuts and lossy links: %v", noNetwork)
	}
	if err := noDisks(); err != nil {
		available = slices.DeleteFunc(available, func(k kind) bool { return k.needs == needsDisk })
		loudly("SKIPPED: full disks: %v", err)
	}
	if err := noTracer(); err != nil {
		available = slices.DeleteFunc(available, func(k kind) bool { return k.needs == needsTracer })
		loudly("SKIPPED: disk errors: %v", err)
	}
	r := &campaign{t: t, seed: seed, available: available, began: time.Now(), tally: tally{
		answers: map[history.Outcome]int{}, tried: map[string]int{}, hit: map[string]int{},
	}}
	defer r.stop()
	if *only != "" {
		r.available = slices.DeleteFunc(r.available, func(k kind) bool { return !strings.Contains(k.name, *only) })
	}
	if *onlyRound >= 0 {
		r.round(*onlyRound)
		r.report()
		return
	}
	for n := 0; !t.Failed() && (r.counted < *histories || time.Since(r.began) < *runFor); n++ {
		r.round(n)
	}
	r.report()
	for _, k := range r.available {
		if r.hit[k.name] == 0 && !t.Failed() {
			t.Errorf("%s never hit", k.name)
		}
	}
}

// loudly prints at once, whatever else is printed of tests.
func loudly(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// campaign is one run of rounds on one cluster after another.
type campaign struct {
	tally
	t         *testing.T
	seed      uint64
	available []kind
	began     time.Time
	c         *cluster
	n         *nemesis
	story     []string // of the round
	storyMu   sync.Mutex
}

func (r *campaign) say(format string, args ...any) {
	line := fmt.Sprintf("%7.2f s  ", time.Since(r.began).Seconds()) + fmt.Sprintf(format, args...)
	r.storyMu.Lock()
	defer r.storyMu.Unlock()
	r.story = append(r.story, line)
	if *showAll {
		fmt.Fprintln(os.Stderr, line)
	}
}

// stop ends the cluster, if there is one.
func (r *campaign) stop() {
	if r.c == nil {
		return
	}
	r.c.end(r.t, fmt.Sprintf("seed-%d", r.seed))
	r.c = nil
	if r.t.Failed() {
		r.t.Logf("the last round:\n%s", strings.Join(r.story, "\n"))
	}
}

// round runs some histories under some faults and checks them.
func (r *campaign) round(n int) {
	t := r.t
	r.story = nil
	if r.c == nil {
		c, err := start(t.Context(), "PARTSTORE_REGISTRY_SNAPSHOT_ENTRIES=200")
		if err != nil {
			t.Fatal(err)
		}
		r.c, r.n = c, &nemesis{c: c, say: r.say, busy: map[int]bool{}}
	}
	r.rounds++
	r.say("round %d; repeat with -seed=%d -round=%d", n, r.seed, n)
	_, before := r.c.leader(t.Context())

	works := make([]*work, historiesPerRound)
	for i := range works {
		works[i] = newWork(r.c, fmt.Sprintf("round-%d-history-%d", n, i), r.seed+uint64(n*historiesPerRound+i))
	}
	clients, cancel := context.WithCancel(t.Context())
	defer cancel()
	stop := make(chan struct{})
	var working sync.WaitGroup
	for _, w := range works {
		working.Go(func() { w.run(clients, stop) })
	}
	r.n.beforeThaw = func(node int) {
		for _, w := range works {
			w.askFrozen(clients, node)
		}
		time.Sleep(thawDelay) // the questions are on their way
	}
	err := r.strikeAll(plan(r.seed, n, r.available))
	if err == nil {
		err = r.heal()
	}
	time.Sleep(aftermath) // work goes on for as long
	close(stop)
	end := time.AfterFunc(aftermath, cancel) // who waits for an answer now waits in vain
	working.Wait()
	for _, w := range works {
		w.waiting.Wait()
	}
	end.Stop()
	if err != nil {
		t.Errorf("round %d: %v", n, err)
		return
	}
	if _, after := r.c.leader(t.Context()); after > before {
		r.elections += int(after - before)
	}
	for _, w := range works {
		r.finish(n, w)
	}
	if r.n.wiped {
		r.stop()
	}
}

// strikeAll makes the faults and returns when all are over.
func (r *campaign) strikeAll(faults []fault) error {
	ctx, cancel := context.WithCancel(r.t.Context())
	defer cancel()
	errs := make([]error, len(faults))
	hits := make([]bool, len(faults))
	var striking sync.WaitGroup
	for i, f := range faults {
		striking.Go(func() {
			time.Sleep(f.at) // the schedule of the round
			s := &strike{nemesis: r.n, ctx: ctx, rnd: rand.New(rand.NewPCG(f.seed, 0)), lasts: f.lasts}
			hits[i], errs[i] = f.kind.strike(s)
			if errs[i] != nil {
				errs[i] = fmt.Errorf("%s: %w", f.kind.name, errs[i])
			}
		})
	}
	striking.Wait()
	for i, f := range faults {
		r.tried[f.kind.name]++
		if hits[i] {
			r.hit[f.kind.name]++
		}
	}
	return errors.Join(errs...)
}

// heal waits until every node is ready again: nothing keeps it any more.
func (r *campaign) heal() error {
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	err := r.c.WaitReady(ctx)
	r.say("all nodes are ready: %v", err)
	return err
}

// finish looks at what a history left behind, and checks it.
func (r *campaign) finish(round int, w *work) {
	t := r.t
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	errLook := w.look(ctx)
	ops := w.rec.History()
	answers := 0
	for _, op := range ops {
		r.answers[op.Output.Outcome]++
		if op.Output.Outcome != history.Unknown {
			answers++
		}
	}
	r.probes += w.probes
	began := time.Now()
	verdict := history.Check(ops, checkTimeout)
	r.say("%s: %d operations, %d answers, linearizable: %v, checked in %s", w.name, len(ops), answers, verdict.Linearizable, time.Since(began).Round(time.Millisecond))

	wrong := append(w.wrong, errLook)
	switch {
	case verdict.Undecided:
		wrong = append(wrong, fmt.Errorf("not decided within %s", checkTimeout))
	case !verdict.Linearizable:
		wrong = append(wrong, errors.New("not linearizable"))
	}
	if err := errors.Join(wrong...); err != nil {
		name := fmt.Sprintf("%s-seed-%d", w.name, r.seed)
		err = errors.Join(err, os.MkdirAll(*saveDir, 0o755), verdict.Save(*saveDir, name, ops))
		t.Errorf("%s: %v; saved as %s/%s.json and .html; repeat with -seed=%d -round=%d", w.name, err, *saveDir, name, r.seed, round)
		return
	}
	if answers < leastAnswers {
		r.thin++
		return
	}
	r.counted++
}

// report prints what the run did. Faults that did nothing prove nothing.
func (r *campaign) report() {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d histories in %d rounds, %.0f s; %d more with fewer than %d answers do not count\n",
		r.seed, r.counted, r.rounds, time.Since(r.began).Seconds(), r.thin, leastAnswers)
	fmt.Fprintf(&b, "operations: %d ok, %d not found, %d refused, %d without an answer; %d probes of unknown uploads; %d elections\n",
		r.answers[history.OK], r.answers[history.NotFound], r.answers[history.Refused], r.answers[history.Unknown], r.probes, r.elections)
	fmt.Fprintf(&b, "%-30s %6s %6s\n", "fault", "tried", "hit")
	for _, k := range r.available {
		fmt.Fprintf(&b, "%-30s %6d %6d\n", k.name, r.tried[k.name], r.hit[k.name])
	}
	loudly("%s", b.String())
}
