package linearizability

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"partstore/internal/history"
)

// What a history is made of.
const (
	keysPerHistory    = 3
	clientsPerHistory = 4
	largePartSize     = 4<<20 + 1 // a part that may be followed by another
	maxSmallPart      = 3000
	maxPause          = 25 * time.Millisecond // between operations of one client
	avoidFor          = 2 * time.Second       // a node that did not answer
)

// timeouts of clients: impatient, ordinary, and longer than the node's own.
var timeouts = []time.Duration{500 * time.Millisecond, 1500 * time.Millisecond, 1500 * time.Millisecond, 7 * time.Second}

// work is one history in the making.
type work struct {
	c    *cluster
	rec  *history.Recorder
	name string
	seed uint64
	keys []*key

	mu     sync.Mutex
	wrong  []error // answers no history could excuse
	bodies uint32  // made so far
	failed [nodes + 1]time.Time
	probes int

	waiting sync.WaitGroup // for askFrozen

	unanswered atomic.Int64
}

// key is what clients know of a key.
type key struct {
	name    string
	uploads []*upload // as their IDs became known
}

type upload struct {
	id    string
	parts map[int]history.Part // last known to be sent
	ended bool                 // somebody asked for its end
	wish  []history.Part       // of the last Complete
}

func newWork(c *cluster, name string, seed uint64) *work {
	w := &work{c: c, rec: history.NewRecorder(), name: name, seed: seed}
	for i := range keysPerHistory {
		w.keys = append(w.keys, &key{name: fmt.Sprintf("%s/%d", name, i)})
	}
	return w
}

// mostUnanswered is after how many operations without an answer the clients of a
// history end: each may have taken effect at any time since, and what to try in
// the search for an order doubles with it.
const mostUnanswered = 32

// run has the clients work until stop is closed, then lets them finish what
// they began, or until ctx ends.
func (w *work) run(ctx context.Context, stop <-chan struct{}) {
	var clients sync.WaitGroup
	for i := range clientsPerHistory {
		clients.Go(func() {
			rnd, as := rand.New(rand.NewPCG(w.seed, uint64(i+1))), w.rec.Client()
			for ctx.Err() == nil && w.unanswered.Load() < mostUnanswered {
				select {
				case <-stop:
					return
				case <-time.After(time.Duration(rnd.Int64N(int64(maxPause)))):
				}
				w.one(ctx, rnd, as)
			}
		})
	}
	clients.Wait()
}

// one is one operation of a client.
func (w *work) one(ctx context.Context, rnd *rand.Rand, as *history.Client) {
	in, body, probe := w.choose(rnd)
	ctx, cancel := context.WithTimeout(ctx, timeouts[rnd.IntN(len(timeouts))])
	defer cancel()
	node := w.node(rnd)
	if probe {
		w.probe(ctx, node, in, body)
		return
	}
	w.do(ctx, node, as, in, body)
}

// do performs an operation and records it.
func (w *work) do(ctx context.Context, node int, as *history.Client, in history.Input, body []byte) history.Output {
	op := as.Begin(in)
	out, err := w.c.perform(ctx, node, in, body)
	op.End(out)
	if out.Outcome == history.Unknown {
		w.unanswered.Add(1)
	}
	w.learn(node, in, out, err)
	return out
}

// probe asks for what was never there. Only 404 and "I do not know" are right;
// an abort may always be told that there is nothing.
func (w *work) probe(ctx context.Context, node int, in history.Input, body []byte) {
	out, err := w.c.perform(ctx, node, in, body)
	if err == nil && in.Kind != history.Abort && (out.Outcome == history.OK || out.Outcome == history.Refused) {
		err = fmt.Errorf("%w: %s of an upload that never was: %s", errWrong, in.Kind, out.Outcome)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note(node, out)
	if out.Outcome == history.NotFound {
		w.probes++
	}
	if err != nil {
		w.wrong = append(w.wrong, err)
	}
}

// node picks a node to ask: mostly one that answered of late.
func (w *work) node(rnd *rand.Rand) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := 1 + rnd.IntN(nodes)
	for range 3 {
		if time.Since(w.failed[i]) > avoidFor {
			break
		}
		i = 1 + rnd.IntN(nodes)
	}
	return i
}

func (w *work) note(node int, out history.Output) {
	if out.Outcome == history.Unknown {
		w.failed[node] = time.Now()
	}
}

// learn keeps what an answer tells other clients.
func (w *work) learn(node int, in history.Input, out history.Output, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note(node, out)
	if err != nil {
		w.wrong = append(w.wrong, err)
	}
	k := w.keys[slices.IndexFunc(w.keys, func(k *key) bool { return k.name == in.Key })]
	if in.Kind == history.Initiate && out.Outcome == history.OK {
		k.uploads = append(k.uploads, &upload{id: out.Upload, parts: map[int]history.Part{}})
		return
	}
	at := slices.IndexFunc(k.uploads, func(u *upload) bool { return u.id == in.Upload })
	if at < 0 {
		return
	}
	u := k.uploads[at]
	switch {
	case in.Kind == history.PutPart && out.Outcome != history.NotFound:
		u.parts[in.Parts[0].Number] = in.Parts[0]
	case in.Kind == history.Abort, in.Kind == history.Complete && out.Outcome != history.Refused:
		u.ended = true
	}
}

// choose picks what to do next, and whether it is a probe of what never was.
func (w *work) choose(rnd *rand.Rand) (in history.Input, body []byte, probe bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.keys[rnd.IntN(len(w.keys))]
	in.Key = k.name
	u := k.pick(rnd)
	dice := rnd.IntN(100)
	switch {
	case u == nil && dice < 60, k.open() == 0 && dice < 70, dice < 2:
		in.Kind = history.Initiate
	case dice < 8:
		in.Kind = history.GetObject
	case dice < 14:
		in.Kind = history.HeadObject
	case dice < 17:
		in.Kind = history.DeleteObject
	case dice < 20:
		in.Kind = history.PutObject
		body = w.body(rnd, maxSmallPart)
		in.Parts = []history.Part{partOf(0, body)}
	case dice < 26 || u == nil:
		in, body = w.onUpload(rnd, in, &upload{id: w.unknownID(rnd, k)})
		return in, body, true
	default:
		in, body = w.onUpload(rnd, in, u)
	}
	return in, body, false
}

// onUpload picks what to do with an upload.
func (w *work) onUpload(rnd *rand.Rand, in history.Input, u *upload) (history.Input, []byte) {
	var body []byte
	in.Upload = u.id
	switch dice := rnd.IntN(100); {
	case dice < 52:
		in.Kind = history.PutPart
		number, size := 1+rnd.IntN(3), maxSmallPart
		if number < 3 && rnd.IntN(12) == 0 {
			size = largePartSize
		}
		body = w.body(rnd, size)
		in.Parts = []history.Part{partOf(number, body)}
	case dice < 84:
		in.Kind = history.ListParts
	case dice < 94:
		in.Kind = history.Complete
		if u.wish == nil || rnd.IntN(3) > 0 {
			u.wish = u.newWish(rnd)
		}
		in.Parts = u.wish
	default:
		in.Kind = history.Abort
	}
	return in, body
}

// newWish picks parts for a Complete: some of those that were sent, mostly by
// their ETags, now and then one that was not.
func (u *upload) newWish(rnd *rand.Rand) (wish []history.Part) {
	for number := 1; number <= 3; number++ {
		p, sent := u.parts[number]
		follows := len(wish) > 0 && u.parts[wish[len(wish)-1].Number].Size < largePartSize
		if !sent || follows && rnd.IntN(10) > 0 || rnd.IntN(4) == 0 {
			continue
		}
		w := history.Part{Number: number, ETag: p.ETag}
		if rnd.IntN(4) == 0 {
			w.ETag = "" // whichever it is
		}
		wish = append(wish, w)
	}
	if len(wish) == 0 {
		wish = []history.Part{{Number: 1 + rnd.IntN(3)}}
	}
	return wish
}

// pick is an upload of the key, mostly one that is open; nil if there is none.
func (k *key) pick(rnd *rand.Rand) *upload {
	if len(k.uploads) == 0 {
		return nil
	}
	if rnd.IntN(8) > 0 {
		for _, u := range slices.Backward(k.uploads) {
			if !u.ended {
				return u
			}
		}
	}
	return k.uploads[rnd.IntN(len(k.uploads))]
}

// open is how many uploads of the key nobody asked to end.
func (k *key) open() (n int) {
	for _, u := range k.uploads {
		if !u.ended {
			n++
		}
	}
	return n
}

// unknownID is an upload ID that no upload of k ever had: made up, or that of
// another key's upload.
func (w *work) unknownID(rnd *rand.Rand, k *key) string {
	if other := w.keys[rnd.IntN(len(w.keys))]; other != k && len(other.uploads) > 0 && rnd.IntN(3) == 0 {
		return other.uploads[rnd.IntN(len(other.uploads))].id
	}
	var id [16]byte
	binary.LittleEndian.PutUint64(id[:], rnd.Uint64())
	binary.LittleEndian.PutUint64(id[8:], rnd.Uint64())
	id[0], id[1] = 0, 0 // the registry's shard
	return hex.EncodeToString(id[:])
}

// body makes a body that nobody else sends, of size or less unless it is large.
func (w *work) body(rnd *rand.Rand, size int) []byte {
	if size < largePartSize {
		size = bodyHeader + rnd.IntN(size)
	}
	w.bodies++
	return newBody(w.seed<<24|uint64(w.bodies), size)
}

// askFrozen sends questions to a node that is frozen, one by each of some
// clients. It thaws with them at hand, before it can hear that the others went
// on without it; what it then answers from what it knew before is a violation.
func (w *work) askFrozen(ctx context.Context, node int) {
	w.mu.Lock()
	var questions []history.Input
	for _, k := range w.keys {
		questions = append(questions, history.Input{Kind: history.GetObject, Key: k.name}, history.Input{Kind: history.HeadObject, Key: k.name})
		for _, u := range k.uploads[max(0, len(k.uploads)-2):] {
			questions = append(questions, history.Input{Kind: history.ListParts, Key: k.name, Upload: u.id})
		}
	}
	w.mu.Unlock()
	for _, in := range questions {
		w.waiting.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, patienceWhenFrozen)
			defer cancel()
			w.do(ctx, node, w.rec.Client(), in, nil)
		})
	}
}

// patienceWhenFrozen bounds a question to a frozen node.
const patienceWhenFrozen = 3 * time.Second

// look reads everything the history left behind, until each question is
// answered.
func (w *work) look(ctx context.Context) error {
	var all sync.WaitGroup
	errs := make([]error, len(w.keys))
	for i, k := range w.keys {
		all.Go(func() {
			rnd, as := rand.New(rand.NewPCG(w.seed, uint64(100+i))), w.rec.Client()
			questions := []history.Input{{Kind: history.GetObject, Key: k.name}, {Kind: history.HeadObject, Key: k.name}}
			for _, u := range k.uploads {
				questions = append(questions, history.Input{Kind: history.ListParts, Key: k.name, Upload: u.id})
			}
			for _, in := range questions {
				for w.do(ctx, 1+rnd.IntN(nodes), as, in, nil).Outcome == history.Unknown {
					if ctx.Err() != nil {
						errs[i] = fmt.Errorf("%s %s: no answer after everything healed: %w", in.Kind, in.Key, ctx.Err())
						return
					}
					time.Sleep(20 * time.Millisecond)
				}
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
