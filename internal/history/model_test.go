package history

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"partstore/internal/testrand"
)

// patience bounds every check; no claim about speed.
const patience = time.Minute

// script writes a history by hand. Time passes by one with every call and
// return.
type script struct {
	ops []Operation
	now int64
}

// do is an operation that returns before the next begins.
func (s *script) do(in Input, out Output) { s.over(in, out, func() {}) }

// over is an operation during which others happen.
func (s *script) over(in Input, out Output, meanwhile func()) {
	s.now++
	op := Operation{Client: len(s.ops), Input: in, Output: out, Call: s.now, Return: Never}
	meanwhile()
	s.now++
	if out.Outcome != Unknown {
		op.Return = s.now
	}
	s.ops = append(s.ops, op)
}

// Short names for what histories are made of.
const (
	k = "key"
	u = "upload"
	v = "other upload"
)

var (
	a1, b1, c2 = body(1, "a"), body(1, "b"), body(2, "c")
	large1     = Part{Number: 1, Size: minPartSize, ETag: body(1, "large").ETag}

	done, missing, refused, lost = Output{Outcome: OK}, Output{Outcome: NotFound}, Output{Outcome: Refused}, Output{}
)

func body(number int, text string) Part {
	sum := md5.Sum([]byte(text))
	return Part{Number: number, Size: int64(len(text)), ETag: hex.EncodeToString(sum[:])}
}

func initiate(upload string) (Input, Output) {
	return Input{Kind: Initiate, Key: k}, Output{Outcome: OK, Upload: upload}
}
func on(kind Kind, upload string, parts ...Part) Input {
	return Input{Kind: kind, Key: k, Upload: upload, Parts: parts}
}
func stored(p Part) Output      { return Output{Outcome: OK, ETag: p.ETag} }
func listed(ps ...Part) Output  { return Output{Outcome: OK, Parts: ps} }
func became(ps ...Part) Output  { return Output{Outcome: OK, ETag: ETagOf(ps)} }
func onKey(kind Kind) Input     { return Input{Kind: kind, Key: k} }
func putObject(p Part) Input    { return Input{Kind: PutObject, Key: k, Parts: []Part{p}} }
func holding(ps ...Part) Output { return reads(ETagOf(ps), ps...) }
func reads(etag string, ps ...Part) Output {
	return Output{Outcome: OK, ETag: etag, Size: sizeOf(ps), Parts: unnumbered(ps)}
}

func (s *script) initiate(upload string) { s.do(initiate(upload)) }
func (s *script) put(upload string, ps ...Part) {
	for _, p := range ps {
		s.do(on(PutPart, upload, p), stored(p))
	}
}

func (s *script) check(t *testing.T, want bool) {
	t.Helper()
	got := Check(s.ops, patience)
	if got.Undecided || got.Linearizable != want {
		t.Errorf("linearizable: %v (undecided: %v), want %v, of", got.Linearizable, got.Undecided, want)
		for _, op := range s.ops {
			t.Logf("%4d to %4d %s", op.Call, op.Return, op)
		}
	}
}

// The model explains what a correct store may do.
func TestRightHistoriesAreAccepted(t *testing.T) {
	tests := []struct {
		name string
		make func(s *script)
	}{
		{"an upload from begin to end", func(s *script) {
			s.initiate(u)
			s.put(u, large1, c2)
			s.do(on(ListParts, u), listed(large1, c2))
			s.do(on(Complete, u, large1, c2), became(large1, c2))
			s.do(onKey(GetObject), holding(large1, c2))
			s.do(onKey(HeadObject), holding(large1, c2))
			s.do(on(ListParts, u), missing)
			s.do(on(PutPart, u, a1), missing)
		}},
		{"complete picks parts, by number alone too", func(s *script) {
			s.initiate(u)
			s.put(u, a1, c2)
			s.do(on(Complete, u, Part{Number: 2}), became(c2))
			s.do(onKey(GetObject), holding(c2))
		}},
		{"a part replaced", func(s *script) {
			s.initiate(u)
			s.put(u, a1, b1)
			s.do(on(ListParts, u), listed(b1))
		}},
		{"complete repeated, after the object was deleted too", func(s *script) {
			s.initiate(u)
			s.put(u, a1)
			s.do(on(Complete, u, a1), became(a1))
			s.do(on(Complete, u, a1), became(a1))
			s.do(onKey(DeleteObject), done)
			s.do(on(Complete, u, a1), became(a1))
			s.do(onKey(GetObject), missing)
		}},
		{"complete refused", func(s *script) {
			s.initiate(u)
			s.put(u, a1, c2)
			s.do(on(Complete, u, b1), refused)
			s.do(on(Complete, u, a1, c2), refused) // too small
			s.do(on(Complete, u, Part{Number: 3}), refused)
			s.do(on(ListParts, u), listed(a1, c2))
		}},
		{"abort at any time, and of nothing", func(s *script) {
			s.do(on(Abort, v), done)
			s.initiate(u)
			s.put(u, a1)
			s.do(on(Complete, u, a1), became(a1))
			s.do(on(Abort, u), done)
			s.do(onKey(GetObject), holding(a1))
		}},
		{"an object replaced by an upload and by a put", func(s *script) {
			s.do(putObject(a1), stored(a1))
			s.initiate(u)
			s.put(u, c2)
			s.do(onKey(GetObject), reads(a1.ETag, a1))
			s.do(on(Complete, u, c2), became(c2))
			s.do(onKey(GetObject), holding(c2))
			s.do(putObject(b1), stored(b1))
			s.do(onKey(HeadObject), reads(b1.ETag, b1))
		}},
		{"a part commits during an abort, or it does not", func(s *script) {
			s.initiate(u)
			s.over(on(Abort, u), done, func() { s.put(u, a1) })
			s.initiate(v)
			s.over(on(Abort, v), done, func() { s.do(on(PutPart, v, a1), missing) })
		}},
		{"two uploads complete at the same time", func(s *script) {
			s.initiate(u)
			s.initiate(v)
			s.put(u, a1)
			s.put(v, c2)
			s.over(on(Complete, u, a1), became(a1), func() { s.do(on(Complete, v, c2), became(c2)) })
			s.do(onKey(GetObject), holding(a1))
		}},
		{"a write without an answer happened late", func(s *script) {
			s.initiate(u)
			s.put(u, a1)
			s.do(on(PutPart, u, b1), lost)
			s.do(on(ListParts, u), listed(a1))
			s.do(on(ListParts, u), listed(b1))
		}},
		{"a write without an answer never happened", func(s *script) {
			s.initiate(u)
			s.do(on(Complete, u, a1), lost)
			s.do(on(Abort, u), lost)
			s.put(u, a1)
			s.do(on(ListParts, u), listed(a1))
		}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			var s script
			tc.make(&s)
			s.check(t, true)
		})
	}
}

// The model rejects what a store must never do. Each history is what one kind
// of bug in the registry would look like to clients.
func TestWrongHistoriesAreRejected(t *testing.T) {
	tests := []struct {
		name string
		make func(s *script)
	}{
		{"stale list", func(s *script) {
			s.initiate(u)
			s.put(u, a1)
			s.put(u, c2)
			s.do(on(ListParts, u), listed(a1))
		}},
		{"stale list of a replaced part", func(s *script) {
			s.initiate(u)
			s.put(u, a1, b1)
			s.do(on(ListParts, u), listed(a1))
		}},
		{"false 404 on a list", func(s *script) {
			s.initiate(u)
			s.do(on(ListParts, u), missing)
		}},
		{"false 404 on a part", func(s *script) {
			s.initiate(u)
			s.do(on(PutPart, u, a1), missing)
			s.do(on(ListParts, u), listed())
		}},
		{"false 404 on a complete", func(s *script) {
			s.initiate(u)
			s.put(u, a1)
			s.do(on(Complete, u, a1), missing)
		}},
		{"false 404 on an object", func(s *script) {
			s.initiate(u)
			s.put(u, a1)
			s.do(on(Complete, u, a1), became(a1))
			s.do(onKey(HeadObject), missing)
		}},
		{"404 on a repeated complete", func(s *script) {
			s.initiate(u)
			s.put(u, a1)
			s.do(on(Complete, u, a1), became(a1))
			s.do(on(Complete, u, a1), missing)
		}},
		{"lost part", func(s *script) {
			s.initiate(u)
			s.put(u, a1, c2)
			s.do(on(ListParts, u), listed(a1, c2))
			s.do(on(ListParts, u), listed(c2))
		}},
		{"part resurrected by a late attempt", func(s *script) {
			s.initiate(u)
			s.put(u, a1, b1)
			s.do(on(ListParts, u), listed(b1))
			s.do(on(ListParts, u), listed(a1))
		}},
		{"upload resurrected after abort", func(s *script) {
			s.initiate(u)
			s.put(u, a1)
			s.do(on(Abort, u), done)
			s.do(on(ListParts, u), listed(a1))
		}},
		{"part accepted after the end", func(s *script) {
			s.initiate(u)
			s.put(u, a1)
			s.do(on(Complete, u, a1), became(a1))
			s.put(u, c2)
		}},
		{"complete wins after abort has won", func(s *script) {
			s.initiate(u)
			s.put(u, a1)
			s.over(on(Complete, u, a1), became(a1), func() {
				s.do(on(Abort, u), done)
				s.do(onKey(GetObject), missing)
				s.do(on(ListParts, u), missing)
			})
		}},
		{"two completes of different parts both win", func(s *script) {
			s.initiate(u)
			s.put(u, a1, c2)
			s.over(on(Complete, u, a1), became(a1), func() { s.do(on(Complete, u, c2), became(c2)) })
		}},
		{"complete refused for a part that is there", func(s *script) {
			s.initiate(u)
			s.put(u, a1)
			s.do(on(Complete, u, a1), refused)
		}},
		{"complete with a part that was replaced", func(s *script) {
			s.initiate(u)
			s.put(u, a1, b1)
			s.do(on(Complete, u, a1), became(a1))
		}},
		{"object of other parts than were listed", func(s *script) {
			s.initiate(u)
			s.put(u, a1, c2)
			s.do(on(Complete, u, c2), became(c2))
			s.do(onKey(GetObject), reads(ETagOf([]Part{c2}), a1))
		}},
		{"object of a complete that was refused", func(s *script) {
			s.initiate(u)
			s.put(u, a1)
			s.do(on(Complete, u, b1), refused)
			s.do(onKey(GetObject), holding(b1))
		}},
		{"deleted object comes back", func(s *script) {
			s.do(putObject(a1), stored(a1))
			s.do(onKey(DeleteObject), done)
			s.do(onKey(GetObject), reads(a1.ETag, a1))
		}},
		{"object replaced comes back", func(s *script) {
			s.do(putObject(a1), stored(a1))
			s.do(putObject(b1), stored(b1))
			s.do(onKey(GetObject), reads(b1.ETag, b1))
			s.do(onKey(GetObject), reads(a1.ETag, a1))
		}},
		{"a write without an answer happens and is taken back", func(s *script) {
			s.initiate(u)
			s.put(u, a1)
			s.do(on(PutPart, u, b1), lost)
			s.do(on(ListParts, u), listed(b1))
			s.do(on(ListParts, u), listed(a1))
		}},
		{"a repeated complete makes its object again", func(s *script) {
			s.initiate(u)
			s.put(u, a1)
			s.do(on(Complete, u, a1), became(a1))
			s.do(onKey(DeleteObject), done)
			s.do(on(Complete, u, a1), became(a1))
			s.do(onKey(GetObject), holding(a1))
		}},
		{"upload ID given twice", func(s *script) {
			s.initiate(u)
			s.initiate(u)
		}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			var s script
			tc.make(&s)
			s.check(t, false)
		})
	}
}

// The keys of a history are checked apart, so what is wrong with one is not
// excused by another.
// Operations without an answer whose effects hide each other, or came last: to
// try all their orders takes longer than anybody waits.
func TestManyOperationsWithoutAnAnswer(t *testing.T) {
	for _, happened := range []bool{false, true} {
		var s script
		s.initiate(u)
		s.initiate(v)
		s.put(u, a1)
		for i := range 12 {
			s.do(on(PutPart, u, body(1, fmt.Sprint("part ", i))), lost)
			s.do(on(Complete, u, a1), lost)
			s.do(putObject(body(0, fmt.Sprint("object ", i))), lost)
			s.do(onKey(DeleteObject), lost)
		}
		s.do(on(Abort, v), lost)
		for range 50 {
			s.do(on(ListParts, u), listed(a1))
			s.do(onKey(GetObject), missing)
		}
		if happened {
			s.do(on(ListParts, v), missing)
			late := body(0, "object 3")
			s.do(onKey(GetObject), reads(late.ETag, late))
		}
		s.check(t, true)
	}
}

func TestKeysAreCheckedApart(t *testing.T) {
	var s script
	s.initiate(u)
	s.do(Input{Kind: PutObject, Key: "other", Parts: []Part{a1}}, stored(a1))
	s.do(onKey(GetObject), missing)
	s.check(t, true)
	s.do(Input{Kind: GetObject, Key: "other"}, missing)
	s.check(t, false)
}

// random returns an operation that has a fair chance to succeed in state s.
func random(rnd *rand.Rand, s *state, n int) Input {
	id := fmt.Sprintf("upload %d", rnd.IntN(4))
	if len(s.uploads) > 0 {
		id = s.uploads[rnd.IntN(len(s.uploads))].id
	}
	part := body(1+rnd.IntN(3), fmt.Sprint("body ", n))
	if rnd.IntN(2) == 0 {
		part.Size = minPartSize
	}
	switch kind := Kind(1 + rnd.IntN(int(DeleteObject))); kind {
	case Initiate, GetObject, HeadObject, DeleteObject:
		return onKey(kind)
	case PutPart:
		return on(kind, id, part)
	case PutObject:
		return putObject(part)
	case Complete:
		var want []Part
		for _, number := range []int{1, 2, 3} {
			if rnd.IntN(2) == 0 {
				want = append(want, Part{Number: number})
			}
		}
		if at := s.find(id); len(want) == 0 && at >= 0 && len(s.uploads[at].parts) > 0 {
			p := s.uploads[at].parts[0]
			want = []Part{{Number: p.Number, ETag: p.ETag}}
		} else if len(want) == 0 {
			want = []Part{{Number: 1}}
		}
		return on(kind, id, want...)
	default:
		return on(kind, id)
	}
}

// A store that does one thing at a time has no choice: with one answer changed,
// whichever it is, its history is no longer explained. With calls that overlap,
// it stays explained as it is.
func TestAnyWrongAnswerOfASequentialStoreIsRejected(t *testing.T) {
	rnd := testrand.New(t)
	for range 200 {
		var s script
		now := &state{}
		for n := range 40 {
			in := random(rnd, now, n)
			out, after := now.do(in, Output{Upload: fmt.Sprint("new ", n)})
			now = after
			s.do(in, out)
		}
		s.check(t, true)

		overlapping := script{ops: append([]Operation(nil), s.ops...)}
		for i := range overlapping.ops {
			overlapping.ops[i].Call -= int64(rnd.IntN(8))
			overlapping.ops[i].Return += int64(rnd.IntN(8))
		}
		overlapping.check(t, true)

		at := rnd.IntN(len(s.ops))
		s.ops[at].Output = wrong(s.ops[at])
		s.check(t, false)
	}
}

// wrong is another answer than the operation got.
func wrong(op Operation) Output {
	out := op.Output
	switch {
	case out.Outcome != OK:
		return Output{Outcome: OK, ETag: "made up", Upload: "made up"}
	case op.Input.Kind == ListParts && len(out.Parts) > 0:
		out.Parts = out.Parts[1:]
	case op.Input.Kind == GetObject:
		out.Parts = append([]Part{{ETag: "made up"}}, out.Parts[1:]...)
	case out.ETag != "":
		out.ETag = "made up"
	default:
		out.Outcome = Refused
	}
	return out
}

func TestSaveWritesTheOperationsAndAPicture(t *testing.T) {
	var s script
	s.initiate(u)
	s.do(on(PutPart, u, a1), lost)
	s.do(on(ListParts, u), missing)
	v := Check(s.ops, patience)
	if v.Linearizable {
		t.Fatal("a false 404 is explained")
	}
	if err := v.Save(t.TempDir(), "history", s.ops); err != nil {
		t.Error(err)
	}
}
