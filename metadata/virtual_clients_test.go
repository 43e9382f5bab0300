package metadata

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"partstore/internal/history"
	"partstore/internal/layout"
)

// The clients of a world work on a few subjects at a time: keys with a few
// uploads each. What is asked about one key says nothing about another, so a
// subject gives way to a fresh one before its history is long to check.
type subjects struct {
	recorder *history.Recorder

	mu     sync.Mutex
	number int
	open   []*subject
	asked  int
}

type subject struct {
	key     string
	uploads []layout.UploadID
	left    int // operations until it gives way
	ended   int // operations without an answer
}

const (
	subjectsAtOnce = 5
	subjectUploads = 4
	subjectParts   = 3
	subjectLength  = 50 // operations
	subjectUnknown = 4  // operations without an answer
)

// pick returns a subject and one of its uploads, or none if it is time for
// another one.
func (s *subjects) pick(rng *rand.Rand) (*subject, layout.UploadID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = slices.DeleteFunc(s.open, func(x *subject) bool { return x.left <= 0 || x.ended >= subjectUnknown })
	for len(s.open) < subjectsAtOnce {
		s.number++
		s.open = append(s.open, &subject{key: fmt.Sprintf("key %d", s.number), left: subjectLength})
	}
	s.asked++
	x := s.open[rng.IntN(len(s.open))]
	x.left--
	if n := len(x.uploads); n == 0 || n < subjectUploads && rng.IntN(30) == 0 {
		return x, layout.UploadID{}
	}
	return x, x.uploads[len(x.uploads)-1-rng.IntN(min(len(x.uploads), 2))]
}

func (s *subjects) opened(x *subject, id layout.UploadID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x.uploads = append(x.uploads, id)
}

func (s *subjects) unknown(x *subject) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x.ended++
}

// client works through the process at its place, while it is up, until ctx
// ends.
func (w *world) client(ctx context.Context, s *subjects, place int, seed uint64, think time.Duration) {
	rng := rand.New(rand.NewPCG(w.seed, seed))
	c := s.recorder.Client()
	for ctx.Err() == nil {
		all := w.running()
		if len(all) == 0 {
			time.Sleep(think)
			continue
		}
		if p := all[place%len(all)]; p.incarnation.Load() != 0 {
			w.ask(ctx, c, s, p, rng)
		}
		time.Sleep(time.Duration(rng.Int64N(int64(think))))
	}
}

// ask makes one call and notes what was answered. A process that crashed
// meanwhile has answered nothing.
func (w *world) ask(ctx context.Context, c *history.Client, s *subjects, p *process, rng *rand.Rand) {
	x, id := s.pick(rng)
	ref := UploadRef{Bucket: "b", Key: x.key, ID: id}
	in := history.Input{Key: x.key, Upload: id.String()}
	var call func() (history.Output, error)
	switch n := rng.IntN(40); {
	case id == layout.UploadID{}:
		ref.ID = layout.NewUploadID()
		in = history.Input{Kind: history.Initiate, Key: x.key}
		call = func() (history.Output, error) {
			err := p.CreateUpload(ctx, Upload{UploadRef: ref, Created: time.Now()})
			return history.Output{Upload: ref.ID.String()}, err
		}
	case n < 10:
		part := p.part(layout.PartNumber(rng.IntN(subjectParts)))
		in.Kind, in.Parts = history.PutPart, []history.Part{tell(part)}
		call = func() (history.Output, error) {
			return history.Output{ETag: in.Parts[0].ETag}, p.CommitPart(ctx, ref, part)
		}
	case n < 15:
		in.Kind = history.ListParts
		call = func() (history.Output, error) {
			page, err := p.Parts(ctx, ref, -1, 100)
			return history.Output{Parts: tellAll(page.Parts, true)}, err
		}
	case n < 17:
		complete := CompleteUpload{UploadRef: ref}
		in.Kind = history.Complete
		for n := range layout.PartNumber(subjectParts) {
			if rng.IntN(2) == 0 || n == subjectParts-1 && len(complete.Parts) == 0 {
				complete.Parts = append(complete.Parts, CompletePart{Number: n})
				in.Parts = append(in.Parts, history.Part{Number: int(n)})
			}
		}
		call = func() (history.Output, error) {
			o, err := p.CompleteUpload(ctx, complete)
			return history.Output{ETag: o.ETag}, err
		}
	case n < 18:
		in.Kind = history.Abort
		call = func() (history.Output, error) { return history.Output{}, p.AbortUpload(ctx, ref) }
	case n < 20:
		part := p.part(0)
		in = history.Input{Kind: history.PutObject, Key: x.key, Parts: []history.Part{tell(part)}}
		put := PutObject{Bucket: "b", Key: x.key, ID: layout.NewUploadID(), Part: part}
		call = func() (history.Output, error) {
			o, err := p.PutObject(ctx, put)
			return history.Output{ETag: o.ETag}, err
		}
	case n < 25:
		in = history.Input{Kind: history.GetObject, Key: x.key}
		call = func() (history.Output, error) {
			o, parts, err := p.ObjectParts(ctx, "b", x.key)
			return history.Output{ETag: o.ETag, Size: o.Size, Parts: tellAll(parts, false)}, err
		}
	case n < 26:
		in = history.Input{Kind: history.DeleteObject, Key: x.key}
		call = func() (history.Output, error) { return history.Output{}, p.DeleteObject(ctx, "b", x.key) }
	case n < 28:
		w.askUnknown(ctx, p, x.key, rng)
		return
	case n < 30:
		w.askWider(ctx, p, ref)
		return
	default:
		in.Kind = history.FindUpload
		find := p.Upload
		stale := n < 35
		if stale {
			find = p.UploadOpen
		}
		call = func() (history.Output, error) {
			_, err := find(ctx, ref)
			if stale && err == nil {
				err = ErrUnavailable // it may be as old as the copy: no statement
			}
			return history.Output{}, err
		}
	}
	pending := c.Begin(in)
	out, err := call()
	out.Outcome = w.outcomeOf(in.Kind, err)
	if p.dead.Load() {
		out = history.Output{}
	}
	if out.Outcome == history.Unknown && !in.Kind.Reads() {
		s.unknown(x)
	}
	pending.End(out)
	if in.Kind == history.Initiate && out.Outcome == history.OK {
		s.opened(x, ref.ID)
	}
}

// askUnknown looks for an upload that never was.
func (w *world) askUnknown(ctx context.Context, p *process, key string, rng *rand.Rand) {
	find := p.Upload
	if rng.IntN(2) == 0 {
		find = p.UploadOpen
	}
	_, err := find(ctx, UploadRef{Bucket: "b", Key: key, ID: layout.NewUploadID()})
	if !errors.Is(err, ErrUploadNotFound) && !errors.Is(err, ErrUnavailable) {
		w.t.Errorf("seed %d: an upload that never was: %v", w.seed, err)
	}
	if err := p.CommitPart(ctx, UploadRef{Bucket: "b", Key: key, ID: layout.NewUploadID()}, p.part(1)); !errors.Is(err, ErrUploadNotFound) &&
		!errors.Is(err, ErrAttemptFenced) && !errors.Is(err, ErrUnavailable) {
		w.t.Errorf("seed %d: a part of an upload that never was: %v", w.seed, err)
	}
}

// askWider widens what is narrow of an open upload. Nobody can tell by what is
// answered afterwards.
func (w *world) askWider(ctx context.Context, p *process, ref UploadRef) {
	page, err := p.Parts(ctx, ref, -1, 100)
	if err != nil {
		return
	}
	for _, part := range page.Parts {
		if !part.Layout.Narrow(layout.Scheme{Data: 4, Parity: 2}) {
			continue
		}
		err := p.Widen(ctx, wider(ref.ID, part, p.part(part.Number).Layout.Attempt).WidenedPart)
		if err != nil && !errors.Is(err, ErrPartChanged) && !errors.Is(err, ErrAttemptFenced) && !errors.Is(err, ErrUnavailable) {
			w.t.Errorf("seed %d: widening: %v", w.seed, err)
		}
	}
}

func (w *world) outcomeOf(k history.Kind, err error) history.Outcome {
	switch {
	case err == nil:
		return history.OK
	case errors.Is(err, ErrUnavailable):
		return history.Unknown
	case errors.Is(err, ErrUploadNotFound), errors.Is(err, ErrObjectNotFound):
		return history.NotFound
	case errors.Is(err, ErrPartNotFound):
		return history.Refused
	case errors.Is(err, ErrAttemptFenced):
		// The coordinator was slow, or has started anew. Nothing happened, and
		// an operation that may not have happened says that.
		return history.Unknown
	}
	w.t.Errorf("seed %d: %s: %v", w.seed, k, err)
	return history.Unknown
}

// part is a part of a fresh attempt, every third a narrow one.
func (p *process) part(n layout.PartNumber) Part {
	sequence := p.sequence.Add(1)
	shape := testPart
	if sequence%3 == 0 {
		shape = narrowPart
	}
	return shape(n, MinPartSize, layout.NewAttemptID(layout.Incarnation(p.incarnation.Load()), p.Now(), sequence))
}

func tell(p Part) history.Part {
	return history.Part{Number: int(p.Number), Size: p.Size, ETag: hex.EncodeToString(p.ETag[:])}
}

func tellAll(parts []Part, numbered bool) (told []history.Part) {
	for _, p := range parts {
		h := tell(p)
		if !numbered {
			h.Number = 0
		}
		told = append(told, h)
	}
	return told
}
