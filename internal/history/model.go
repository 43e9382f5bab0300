package history

import (
	"crypto/md5" // the protocol's ETag
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// minPartSize is the least size of a part that is not the last of its object.
const minPartSize = 4 << 20

// state is one key of a bucket: its object and its uploads. Keys know nothing
// of each other, so each is checked alone, and the whole is linearizable if and
// only if each key is. States are never changed; steps make new ones.
type state struct {
	object  *object // nil: none
	uploads []upload
}

// object is what a Complete or a Put made.
type object struct {
	etag  string
	parts []Part // numbers are zero
}

// upload is an upload that was initiated. An ended one is remembered: a
// Complete that is repeated gets the answer it got.
type upload struct {
	id    string
	parts []Part // by number; nil once it ended
	ended bool
	wish  string // what completed it; "" if it was aborted
	etag  string // of the object it became
}

// step returns whether in, done alone in state s, is answered with out, and the
// state after it. An operation without an answer is always explained; it had
// its effect now.
func (s *state) step(in Input, out Output) (bool, *state) {
	answer, after := s.do(in, out)
	if out.Outcome == Unknown {
		return true, after
	}
	return answer.equal(in.Kind, out), after
}

// do is what the store does. Only the ID of a new upload is taken from the
// answer.
func (s *state) do(in Input, out Output) (Output, *state) {
	switch in.Kind {
	case Initiate:
		return s.initiate(out.Upload)
	case PutPart, ListParts, FindUpload, Complete, Abort:
		return s.onUpload(in)
	case PutObject:
		etag := in.Parts[0].ETag
		return Output{Outcome: OK, ETag: etag}, s.withObject(&object{etag, unnumbered(in.Parts)})
	case DeleteObject:
		return Output{Outcome: OK}, s.withObject(nil)
	case GetObject, HeadObject:
		if s.object == nil {
			return Output{Outcome: NotFound}, s
		}
		return Output{Outcome: OK, ETag: s.object.etag, Size: sizeOf(s.object.parts), Parts: s.object.parts}, s
	}
	panic(in.Kind.String())
}

func (s *state) initiate(id string) (Output, *state) {
	if s.find(id) >= 0 {
		return Output{Outcome: Refused}, s // IDs never come back
	}
	after := *s
	after.uploads = append(slices.Clone(s.uploads), upload{id: id})
	return Output{Outcome: OK, Upload: id}, &after
}

func (s *state) onUpload(in Input) (Output, *state) {
	at := s.find(in.Upload)
	known := at >= 0
	open := known && !s.uploads[at].ended
	switch {
	case in.Kind == Abort && open:
		return Output{Outcome: OK}, s.withUpload(at, upload{id: in.Upload, ended: true})
	case in.Kind == Abort:
		return Output{Outcome: OK}, s
	case in.Kind == Complete && known && s.uploads[at].wish == wishOf(in.Parts):
		return Output{Outcome: OK, ETag: s.uploads[at].etag}, s
	case !open:
		return Output{Outcome: NotFound}, s
	case in.Kind == PutPart:
		u := s.uploads[at]
		u.parts = withPart(u.parts, in.Parts[0])
		return Output{Outcome: OK, ETag: in.Parts[0].ETag}, s.withUpload(at, u)
	case in.Kind == FindUpload:
		return Output{Outcome: OK}, s
	case in.Kind == ListParts:
		return Output{Outcome: OK, Parts: s.uploads[at].parts}, s
	}
	return s.complete(at, in.Parts)
}

// complete ends an open upload with an object of the parts in want, which
// ascend.
func (s *state) complete(at int, want []Part) (Output, *state) {
	u := s.uploads[at]
	var chosen []Part
	for i, w := range want {
		have := slices.IndexFunc(u.parts, func(p Part) bool { return p.Number == w.Number })
		if have < 0 {
			return Output{Outcome: Refused}, s
		}
		p := u.parts[have]
		if w.ETag != "" && w.ETag != p.ETag || p.Size < minPartSize && i < len(want)-1 {
			return Output{Outcome: Refused}, s
		}
		chosen = append(chosen, p)
	}
	o := &object{ETagOf(chosen), unnumbered(chosen)}
	after := s.withUpload(at, upload{id: u.id, ended: true, wish: wishOf(want), etag: o.etag}).withObject(o)
	return Output{Outcome: OK, ETag: o.etag}, after
}

// ETagOf is the ETag of an object that a Complete makes of parts.
func ETagOf(parts []Part) string {
	sums := md5.New()
	for _, p := range parts {
		sum, err := hex.DecodeString(p.ETag)
		if err != nil {
			panic(fmt.Sprintf("history: ETag %q of a part is no MD5", p.ETag))
		}
		sums.Write(sum)
	}
	return fmt.Sprintf("%x-%d", sums.Sum(nil), len(parts))
}

// wishOf is what a Complete asks for: a repeat must ask for the same.
func wishOf(parts []Part) string {
	var b strings.Builder
	for _, p := range parts {
		fmt.Fprintf(&b, "%d:%s,", p.Number, p.ETag)
	}
	return b.String()
}

func (s *state) find(id string) int {
	return slices.IndexFunc(s.uploads, func(u upload) bool { return u.id == id })
}

func (s *state) withUpload(at int, u upload) *state {
	after := *s
	after.uploads = slices.Clone(s.uploads)
	after.uploads[at] = u
	return &after
}

func (s *state) withObject(o *object) *state {
	after := *s
	after.object = o
	return &after
}

// withPart is parts with p in the place of the one with its number.
func withPart(parts []Part, p Part) []Part {
	at, found := slices.BinarySearchFunc(parts, p.Number, func(q Part, number int) int { return q.Number - number })
	parts = slices.Clone(parts)
	if found {
		parts[at] = p
		return parts
	}
	return slices.Insert(parts, at, p)
}

// unnumbered is parts as a reader of their bytes knows them.
func unnumbered(parts []Part) []Part {
	parts = slices.Clone(parts)
	for i := range parts {
		parts[i].Number = 0
	}
	return parts
}

func sizeOf(parts []Part) (size int64) {
	for _, p := range parts {
		size += p.Size
	}
	return size
}

// equal compares what an answer to an operation of kind k tells.
func (o Output) equal(k Kind, p Output) bool {
	if o.Outcome != p.Outcome {
		return false
	}
	if o.Outcome != OK {
		return true
	}
	switch k {
	case Initiate:
		return o.Upload == p.Upload
	case PutPart, Complete, PutObject:
		return o.ETag == p.ETag
	case ListParts:
		return slices.Equal(o.Parts, p.Parts)
	case GetObject:
		return o.ETag == p.ETag && slices.Equal(o.Parts, p.Parts)
	case HeadObject:
		return o.ETag == p.ETag && o.Size == p.Size
	}
	return true
}

func (s *state) equal(t *state) bool {
	return s == t || s.object.equal(t.object) && slices.EqualFunc(s.uploads, t.uploads, upload.equal)
}

func (o *object) equal(p *object) bool {
	return o == p || o != nil && p != nil && o.etag == p.etag && slices.Equal(o.parts, p.parts)
}

func (u upload) equal(v upload) bool {
	return u.id == v.id && u.ended == v.ended && u.wish == v.wish && slices.Equal(u.parts, v.parts)
}

func (s *state) String() string {
	var b strings.Builder
	if s.object == nil {
		b.WriteString("no object")
	} else {
		fmt.Fprintf(&b, "object %s", short(s.object.etag))
	}
	for _, u := range s.uploads {
		switch {
		case !u.ended:
			fmt.Fprintf(&b, "; upload %s %s", short(u.id), describeParts(u.parts))
		case u.wish == "":
			fmt.Fprintf(&b, "; upload %s aborted", short(u.id))
		default:
			fmt.Fprintf(&b, "; upload %s completed", short(u.id))
		}
	}
	return b.String()
}
