package metadata

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"partstore/internal/layout"
	"partstore/internal/testrand"
)

// model is the registry as maps, without a thought for speed. It never forgets.
type model struct {
	buckets  map[string]bool
	uploads  map[layout.UploadID]*modelUpload
	ended    map[layout.UploadID]string // wish of the command that made the object, or ""
	objects  map[[2]string]*modelUpload
	seen     map[layout.AttemptID]bool
	answered map[layout.RequestID]error
	refused  map[string]error
	order    int
	access   accessModel
	slots    *slotsModel

	version  map[[2]string]int // of objects: another number for every object there ever was
	versions int
	digests  map[[16]byte]int // what commands call a version
	every    map[layout.UploadID]*modelUpload
	freed    map[layout.UploadID]bool // were garbage, and are nothing now
}

type modelUpload struct {
	ref   UploadRef
	order int
	parts map[layout.PartNumber]Part
	size  int64
	rest  map[layout.PartNumber]Part // what Complete did not name

	appendable bool
}

func newModel(b *bench) *model {
	return &model{
		buckets: map[string]bool{"b": true}, uploads: map[layout.UploadID]*modelUpload{}, ended: map[layout.UploadID]string{},
		objects: map[[2]string]*modelUpload{}, seen: map[layout.AttemptID]bool{}, answered: map[layout.RequestID]error{}, refused: map[string]error{},
		access:  newAccessModel(),
		slots:   newSlotsModel(b),
		version: map[[2]string]int{}, digests: map[[16]byte]int{}, every: map[layout.UploadID]*modelUpload{},
	}
}

func (m *model) once(id layout.RequestID, decide func() error) error {
	if _, ok := m.answered[id]; !ok {
		m.answered[id] = decide()
	}
	return m.answered[id]
}

// firmly is once for commands whose success is remembered elsewhere.
func (m *model) firmly(id string, decide func() error) error {
	if err := m.refused[id]; err != nil {
		return err
	}
	err := decide()
	if err != nil {
		m.refused[id] = err
	}
	return err
}

func (m *model) apply(cmd command) error {
	switch x := cmd.(type) {
	case *createBucket:
		return m.once(x.Request, func() error {
			if m.buckets[x.Bucket.Name] {
				return ErrBucketExists
			}
			m.buckets[x.Bucket.Name], m.access.owners[x.Bucket.Name] = true, x.Bucket.Owner
			return nil
		})
	case *deleteBucket:
		return m.once(x.Request, func() error { return m.deleteBucket(x.Name) })
	case *createUpload:
		return m.firmly(x.Upload.ID.String(), func() error { return m.createUpload(x.Upload.UploadRef) })
	case *commitPart:
		return m.commitPart(x)
	case *completeUpload:
		return m.firmly(fmt.Sprint(x.Request), func() error { return m.complete(x) })
	case *abortUpload:
		return m.abort(x.Ref)
	case *putObject:
		return m.firmly(x.ID.String(), func() error { return m.put(x) })
	case *deleteObject:
		return m.once(x.Request, func() error {
			if !m.buckets[x.Bucket] {
				return ErrBucketNotFound
			}
			delete(m.objects, [2]string{x.Bucket, x.Key})
			return nil
		})
	case *expireObject:
		return m.once(x.Request, func() error {
			if m.find(x.From) == nil {
				return ErrObjectNotFound
			}
			delete(m.objects, [2]string{x.From.Bucket, x.From.Key})
			return nil
		})
	case *appendObject:
		return m.once(x.Request, func() error { return m.append(x) })
	case *copyObject:
		return m.once(x.Request, func() error { return m.copy(x) })
	case *widenPart:
		return m.widen(x)
	}
	return m.applySlots(cmd)
}

func (m *model) deleteBucket(name string) error {
	if !m.buckets[name] {
		return ErrBucketNotFound
	}
	for _, u := range m.uploads {
		if u.ref.Bucket == name {
			return ErrBucketNotEmpty
		}
	}
	for k := range m.objects {
		if k[0] == name {
			return ErrBucketNotEmpty
		}
	}
	delete(m.buckets, name)
	m.access.forget(name)
	return nil
}

func (m *model) createUpload(ref UploadRef) error {
	if _, ended := m.ended[ref.ID]; ended || m.uploads[ref.ID] != nil {
		return nil
	}
	if !m.buckets[ref.Bucket] {
		return ErrBucketNotFound
	}
	m.order++
	u := &modelUpload{ref: ref, order: m.order, parts: map[layout.PartNumber]Part{}}
	m.uploads[ref.ID], m.every[ref.ID] = u, u
	return nil
}

func (m *model) commitPart(x *commitPart) error {
	if m.seen[x.Part.Layout.Attempt] {
		return nil
	}
	u := m.uploads[x.Upload]
	if u == nil || digestKey(u.ref.Bucket, u.ref.Key) != x.Key {
		return ErrUploadNotFound
	}
	p, err := m.place(x.Part)
	if err != nil {
		return err
	}
	u.parts[x.Part.Number] = p
	m.seen[x.Part.Layout.Attempt] = true
	return nil
}

// place is a part without the chunks whose slots moved meanwhile; too few left are
// an error.
func (m *model) place(p Part) (Part, error) {
	if p.Layout = m.slots.forget(p.Layout); len(p.Layout.Slots) > 0 && p.Layout.DurableCount() < p.Layout.Scheme.WriteQuorum() {
		return p, ErrSlotsMoved
	}
	return p, nil
}

func (m *model) abort(ref UploadRef) error {
	if _, ended := m.ended[ref.ID]; ended {
		return nil
	}
	if !m.buckets[ref.Bucket] {
		return ErrBucketNotFound
	}
	if u := m.uploads[ref.ID]; u != nil && u.ref == ref {
		delete(m.uploads, ref.ID)
		m.ended[ref.ID] = ""
	}
	return nil
}

func (m *model) complete(x *completeUpload) error {
	wish := fmt.Sprint(x.UploadRef, x.Parts, x.ETag, x.Headers)
	if w, ended := m.ended[x.ID]; ended && w == wish {
		return nil
	} else if ended {
		return ErrUploadNotFound
	}
	if !m.buckets[x.Bucket] {
		return ErrBucketNotFound
	}
	u := m.uploads[x.ID]
	if u == nil || u.ref != x.UploadRef {
		return ErrUploadNotFound
	}
	kept := map[layout.PartNumber]Part{}
	u.size = 0 // an earlier Complete may have been refused
	for i, want := range x.Parts {
		p, ok := u.parts[want.Number]
		if !ok {
			return ErrPartNotFound
		}
		if i < len(x.Parts)-1 && p.Size < MinPartSize {
			return ErrPartTooSmall
		}
		kept[want.Number] = p
		u.size += p.Size
	}
	if !x.byRow {
		u.rest = maps.Clone(u.parts)
		maps.DeleteFunc(u.rest, func(n layout.PartNumber, _ Part) bool { _, named := kept[n]; return named })
	}
	u.parts = kept
	delete(m.uploads, x.ID)
	m.ended[x.ID] = wish
	m.create(x.Bucket, x.Key, u)
	return nil
}

func (m *model) create(bucket, key string, u *modelUpload) {
	m.versions++
	m.every[u.ref.ID] = u
	m.objects[[2]string{bucket, key}], m.version[[2]string{bucket, key}] = u, m.versions
}

// find returns the object that is as it was seen, if it is.
func (m *model) find(v objectVersion) *modelUpload {
	key := [2]string{v.Bucket, v.Key}
	if m.version[key] != m.digests[v.Version] {
		return nil
	}
	return m.objects[key]
}

func (m *model) append(x *appendObject) error {
	if !m.buckets[x.Bucket] {
		return ErrBucketNotFound
	}
	part, err := m.place(x.Part)
	if err != nil {
		return err
	}
	u := m.objects[[2]string{x.Bucket, x.Key}]
	exists := u != nil
	if !exists && !x.Create {
		return ErrPosition
	}
	if !exists {
		ref := UploadRef{Bucket: x.Bucket, Key: x.Key, ID: x.ID}
		u = &modelUpload{ref: ref, parts: map[layout.PartNumber]Part{}, appendable: true}
	}
	switch {
	case !u.appendable:
		return ErrNotAppendable
	case exists == x.Create || u.ref.ID != x.ID || u.size != x.Position:
		return ErrPosition
	case len(u.parts) != int(x.Part.Number):
		return ErrInvalid
	}
	if x.Part.Size == 0 && exists {
		return nil
	}
	if x.Part.Size > 0 {
		u.parts[x.Part.Number] = part
	}
	u.size += x.Part.Size
	m.ended[x.ID] = "appended"
	m.create(x.Bucket, x.Key, u)
	return nil
}

func (m *model) copy(x *copyObject) error {
	if !m.buckets[x.Bucket] {
		return ErrBucketNotFound
	}
	u := m.find(x.From)
	if u == nil {
		return ErrObjectChanged
	}
	if u.appendable && !x.Move {
		return ErrInvalid
	}
	if x.Move {
		delete(m.objects, [2]string{x.From.Bucket, x.From.Key})
	}
	m.create(x.Bucket, x.Key, u)
	return nil
}

func (m *model) widen(x *widenPart) error {
	if m.seen[x.Layout.Attempt] {
		return nil
	}
	u := m.every[x.Upload]
	if u == nil {
		return ErrPartChanged
	}
	parts := u.parts
	if _, named := parts[x.Number]; !named {
		parts = u.rest
	}
	switch p, found := parts[x.Number]; {
	case !found || p.Layout.Attempt != x.Attempt:
		return ErrPartChanged
	case !p.Layout.Narrow(layout.Scheme{Data: 4, Parity: 2}):
		return ErrInvalid
	case m.slots.forget(x.Layout).Durable != x.Layout.Durable:
		return ErrSlotsMoved
	default:
		p.Layout = x.Layout
		parts[x.Number], m.seen[x.Layout.Attempt] = p, true
		return nil
	}
}

func (m *model) put(x *putObject) error {
	if w, ended := m.ended[x.ID]; ended && w == "put" {
		return nil
	}
	if !m.buckets[x.Bucket] {
		return ErrBucketNotFound
	}
	part, err := m.place(x.Part)
	if err != nil {
		return err
	}
	m.ended[x.ID] = "put"
	m.create(x.Bucket, x.Key, &modelUpload{
		ref: UploadRef{Bucket: x.Bucket, Key: x.Key, ID: x.ID}, size: x.Part.Size,
		parts: map[layout.PartNumber]Part{0: part},
	})
	return nil
}

// generator makes commands that often touch what earlier ones touched.
type generator struct {
	*rand.Rand
	next uint64
	refs []UploadRef
	past []command
	seen []objectVersion // objects as they were before this pack
	ends []AppendObject  // and where the appendable ones end
	rows []OwnedPart     // some part rows as they were then

	now    layout.RegistryTime
	groups []layout.Group // as they were then; nil: slots do not move
	duties map[layout.StoreID]Duty
}

// look reads what copies may be made of, and tells the model.
func (g *generator) look(t *testing.T, b *bench, m *model) {
	g.seen, g.ends = g.seen[:0], g.ends[:0]
	err := scan(b.db, []byte{rowObject}, func(_, value []byte) error {
		var o Object
		err := decodeValue(value, o.code)
		v, versionErr := versionOf(o)
		m.digests[v.Version] = m.version[[2]string{o.Bucket, o.Key}]
		g.seen = append(g.seen, v)
		if o.Appendable {
			g.ends = append(g.ends, AppendObject{Bucket: o.Bucket, Key: o.Key, ID: o.ID, Position: o.Size, Part: Part{Number: layout.PartNumber(o.Parts)}})
		}
		return errors.Join(err, versionErr)
	})
	if err != nil {
		t.Fatal(err)
	}
	if g.rows, err = allParts(b.db, &OwnedPart{Upload: testUpload(g.Uint64N(g.next + 101))}, 20); err != nil {
		t.Fatal(err)
	}
}

var modelKeys = []string{"", "a", "a/", "a/b", "a/b/c", "a/\x00", "a\x00", "a\x00b", "a\x00\xff", "\x00", "\xff", "\xff\xff", "ab", "b/x", "b/y", "b0"}

func (g *generator) key() string { return modelKeys[1+g.IntN(len(modelKeys)-1)] }

func (g *generator) bucket() string { return []string{"b", "b", "b", "c", "bb"}[g.IntN(5)] }

func (g *generator) ref() UploadRef {
	if len(g.refs) == 0 || g.IntN(50) == 0 {
		return UploadRef{Bucket: g.bucket(), Key: g.key(), ID: testUpload(1 << 40)}
	}
	ref := g.refs[len(g.refs)-1-g.IntN(min(len(g.refs), 8))]
	if g.IntN(30) == 0 {
		ref.Key += "x"
	}
	return ref
}

func (g *generator) part() Part {
	g.next++
	size := []int64{0, 1, MinPartSize - 1, MinPartSize, MinPartSize + 1}[g.IntN(5)]
	shape := testPart
	if g.IntN(3) == 0 {
		shape = narrowPart
	}
	return shape(layout.PartNumber(g.IntN(4)), size, g.attempt(g.next))
}

// attempt began a moment ago, or now.
func (g *generator) attempt(sequence uint64) layout.AttemptID {
	return layout.NewAttemptID(1, g.now-min(g.now, layout.RegistryTime(g.IntN(3))), sequence)
}

func (g *generator) command() command {
	if len(g.past) > 0 && g.IntN(4) == 0 {
		return g.past[len(g.past)-1-g.IntN(min(len(g.past), 60))]
	}
	cmd := g.fresh()
	g.past = append(g.past, cmd)
	return cmd
}

func (g *generator) fresh() command {
	g.next++
	id := g.next + 100
	switch n := g.IntN(38); {
	case n >= 35 && len(g.groups) > 0:
		return g.slotChange(id)
	case n >= 32 && len(g.rows) > 0:
		p := g.rows[g.IntN(len(g.rows))]
		if g.IntN(20) == 0 {
			p.Number++
		}
		return wider(p.Upload, p.Part, g.attempt(1<<40+id)) // no other command's
	case n >= 28:
		return &appendObject{Request: testRequest(id), AppendObject: g.appendix(id)}
	case n >= 24 && len(g.seen) > 0:
		return &copyObject{
			Request: testRequest(id), From: g.seen[g.IntN(len(g.seen))], Bucket: g.bucket(), Key: g.key(),
			Modified: time.Unix(int64(id), 0).UTC(), Move: g.IntN(3) == 0,
		}
	case n >= 20:
		return g.access(id)
	case n == 0:
		return &createBucket{Request: testRequest(id), Bucket: Bucket{Name: g.bucket(), Owner: g.user()}}
	case n == 1:
		return &deleteBucket{Request: testRequest(id), Name: g.bucket()}
	case n < 6:
		ref := UploadRef{Bucket: g.bucket(), Key: g.key(), ID: testUpload(id)}
		g.refs = append(g.refs, ref)
		return &createUpload{Upload{UploadRef: ref, Created: time.Unix(int64(id), 0).UTC()}}
	case n < 13:
		return commitOf(g.ref(), g.part())
	case n < 15:
		c := CompleteUpload{UploadRef: g.ref()}
		for n := range layout.PartNumber(4) {
			if g.IntN(3) == 0 || n == 3 && len(c.Parts) == 0 {
				c.Parts = append(c.Parts, CompletePart{Number: n})
			}
		}
		return &completeUpload{Request: testRequest(id), CompleteUpload: c, byRow: g.IntN(4) == 0}
	case n < 16:
		return &abortUpload{g.ref()}
	case n < 18:
		return &putObject{PutObject{Bucket: g.bucket(), Key: g.key(), ID: testUpload(id), Part: g.part()}}
	default:
		return &deleteObject{Request: testRequest(id), Bucket: g.bucket(), Key: g.key()}
	}
}

// appendix continues an appendable object, or begins one where there may be
// another.
func (g *generator) appendix(id uint64) (a AppendObject) {
	a = AppendObject{Bucket: g.bucket(), Key: g.key(), Create: true, ID: testUpload(id)}
	if len(g.ends) > 0 && g.IntN(4) > 0 {
		a = g.ends[g.IntN(len(g.ends))]
	}
	number := a.Part.Number
	a.Part = g.part()
	a.Part.Number = number
	if g.IntN(20) == 0 {
		a.Position++
	}
	return a
}

var modelOperations = flag.Int("model.operations", 5000, "commands of TestStateMachineFollowsTheModel")

// The state machine answers as the model does, shows what the model has, and is
// the same after a snapshot and a restore, and however the log is cut into
// batches: to the last byte of its rows.
func TestStateMachineFollowsTheModel(t *testing.T) {
	r := testrand.New(t)
	for round, done := 0, 0; done < lessWithRace(*modelOperations) && !t.Failed(); round++ {
		t.Run(fmt.Sprint("round ", round), func(t *testing.T) { done += followTheModel(t, r) })
	}
}

// followTheModel is one registry's life, in small packs or in large ones. It
// returns how many commands there were.
func followTheModel(t *testing.T, r *rand.Rand) (done int) {
	one, two, g := newSpareBench(t), newSpareBench(t), &generator{Rand: r}
	m := newModel(one)
	largest := []int{5, 60}[r.IntN(2)]
	var pending [][]byte // what two has yet to apply, in other batches than one
	for step := range 400 {
		var commands []command
		var want []error
		g.look(t, one, m)
		g.groups, g.duties = slices.Clone(one.groups), maps.Clone(one.duties)
		g.now = layout.RegistryTime(step)
		m.slots.now = g.now
		for range 1 + r.IntN(largest) {
			cmd := g.command()
			commands, want = append(commands, cmd), append(want, m.apply(cmd))
		}
		done += len(commands)
		p := pack{time: g.now}
		for _, cmd := range commands {
			enc, err := encodeCommand(cmd)
			if err != nil {
				t.Fatal(err)
			}
			p.commands = append(p.commands, enc)
		}
		pending = append(pending, encodePack(p))
		for i, got := range one.applyBytes(encodePack(p)) {
			if got.err() != want[i] { //nolint:errorlint // sentinels on both sides
				t.Fatalf("step %d: %T %+v = %v, want %v", step, commands[i], commands[i], got.err(), want[i])
			}
		}
		if r.IntN(10) == 0 {
			two.applyBytes(pending...)
			pending = nil
			if one.hash() != two.hash() {
				t.Fatalf("step %d: replicas differ", step)
			}
		}
		if r.IntN(25) == 0 {
			one = one.reborn()
		}
		if r.IntN(10) == 0 {
			m.compare(t, one, r)
		}
	}
	if report, err := verify(backupOf(t, one)); err != nil || len(report.Problems) > 0 {
		t.Fatalf("a backup has problems: %v, %v", report.Problems, err)
	}
	return done
}

// reborn is the machine after a snapshot, its way to another node, and a
// restore there.
func (b *bench) reborn() *bench {
	b.t.Helper()
	from := &shelf{t: b.t, fs: b.fs, state: &state{current: &generation{db: b.db, fs: b.fs}}}
	from.reopenSnapshots()
	to := newShelf(b.t, vfs.NewMem())
	for _, step := range []func() error{
		func() error { return from.take(b.index) },
		func() error { return from.send(to, nil) },
		to.restore,
	} {
		if err := step(); err != nil {
			b.t.Fatal(err)
		}
	}
	next := to.machine()
	if next.hash() != b.hash() || next.index != b.index {
		b.t.Fatal("restored state has another hash or index")
	}
	next.now, next.requests = b.now, b.requests
	return next
}

// compare looks at everything a reader can see.
func (m *model) compare(t *testing.T, b *bench, r *rand.Rand) {
	t.Helper()
	m.access.compare(t, b)
	m.slots.compare(t, b)
	for key, want := range m.objects {
		o, err := findObject(b.db, key[0], key[1])
		if err != nil || o.ID != want.ref.ID || o.Size != want.size || o.Parts != len(want.parts) {
			t.Fatalf("object %q = %+v, %v; want %+v", key, o, err, want.ref)
		}
		parts, err := objectParts(b.db, &o)
		if err != nil {
			t.Fatal(err)
		}
		compareParts(t, parts, want)
	}
	m.compareGarbage(t, b)
	m.compareUsage(t, b)
	for _, u := range m.uploads {
		parts, err := appendParts(nil, b.db, u.ref.ID, -1, maxParts)
		if err != nil {
			t.Fatal(err)
		}
		compareParts(t, parts, u)
		m.comparePages(t, b, u, 1+r.IntN(5))
	}
	for range 5 {
		q := ListQuery{Limit: 1 + r.IntN(6), Delimiter: []string{"", "/", "\x00", "a/"}[r.IntN(4)]}
		if r.IntN(2) == 0 {
			q.Prefix = modelKeys[r.IntN(len(modelKeys))]
		}
		if r.IntN(2) == 0 {
			q.Marker = modelKeys[r.IntN(len(modelKeys))]
		}
		m.compareObjects(t, b, q)
		m.compareUploads(t, b, q)
	}
}

func (m *model) compareUsage(t *testing.T, b *bench) {
	t.Helper()
	want, got := map[string]Usage{}, map[string]Usage{}
	for key, u := range m.objects {
		want[key[0]] = Usage{want[key[0]].Objects + 1, want[key[0]].Bytes + u.size}
	}
	err := scan(b.db, []byte{rowUsage}, func(k, value []byte) error {
		var u Usage
		err := decodeValue(value, u.code)
		if u != (Usage{}) {
			got[string(k[1:])] = u
		} else if !m.buckets[string(k[1:])] {
			t.Fatalf("usage of bucket %q, which is none", k[1:])
		}
		return err
	})
	if err != nil || !maps.Equal(got, want) {
		t.Fatalf("usage = %v, %v; want %v", got, err, want)
	}
}

// compareGarbage makes sure that the uploads that ended and that no object names
// are garbage, once each, until it is freed, and no others; and of those that an
// object names, what it does not name.
func (m *model) compareGarbage(t *testing.T, b *bench) {
	t.Helper()
	want, got := map[layout.UploadID]int{}, map[layout.UploadID]int{}
	for id := range m.ended {
		want[id] = 1
	}
	for id := range m.freed {
		delete(want, id)
	}
	rest := map[layout.UploadID]map[layout.PartNumber]Part{}
	for _, u := range m.objects {
		delete(want, u.ref.ID)
		if len(u.rest) > 0 {
			rest[u.ref.ID] = u.rest
		}
	}
	for _, g := range b.queue() {
		switch g.extent() {
		case garbageWhole:
			got[g.Upload]++
		case garbageRest:
			m.compareRest(t, b, g, rest[g.Upload])
			delete(rest, g.Upload)
		}
	}
	if !maps.Equal(got, want) {
		t.Fatalf("garbage = %v; want %v", got, want)
	}
	if len(rest) > 0 && m.freed == nil {
		t.Fatalf("not in the garbage queue: %v", rest)
	}
}

func (m *model) compareRest(t *testing.T, b *bench, g Garbage, want map[layout.PartNumber]Part) {
	t.Helper()
	parts, err := garbageParts(b.db, &g, -1, maxParts)
	if err != nil || len(parts) != g.left || len(parts) == 0 || m.freed == nil && len(parts) != len(want) {
		t.Fatalf("%d of %d parts left of upload %s, which had %d, %v", len(parts), g.left, g.Upload, len(want), err)
	}
	for _, p := range parts {
		if want[p.Number].Layout.Attempt != p.Layout.Attempt {
			t.Fatalf("garbage has part %d of upload %s", p.Number, g.Upload)
		}
	}
}

func compareParts(t *testing.T, got []Part, u *modelUpload) {
	t.Helper()
	if len(got) != len(u.parts) {
		t.Fatalf("parts of %+v = %v; want %v", u.ref, got, u.parts)
	}
	for _, p := range got {
		if want := u.parts[p.Number].Layout; p.Layout.Attempt != want.Attempt || p.Layout.Durable != want.Durable {
			t.Fatalf("part %d of %+v is %+v, want %+v", p.Number, u.ref, p.Layout, want)
		}
	}
}

// comparePages lists the parts of an open upload in pages.
func (m *model) comparePages(t *testing.T, b *bench, u *modelUpload, limit int) {
	t.Helper()
	var got []layout.PartNumber
	for after := -1; ; after = int(got[len(got)-1]) {
		page, err := listParts(b.db, u.ref, after, limit)
		if err != nil || page.Total != len(u.parts) {
			t.Fatalf("parts of %+v after %d: %d in all, %v; want %d", u.ref, after, page.Total, err, len(u.parts))
		}
		if len(page.Parts) == 0 {
			break
		}
		for _, p := range page.Parts {
			got = append(got, p.Number)
		}
	}
	if want := slices.Sorted(maps.Keys(u.parts)); !slices.Equal(got, want) {
		t.Fatalf("parts of %+v in pages of %d: %v, want %v", u.ref, limit, got, want)
	}
}

// naive is what a listing should show: keys, with "/" and the prefix for
// groups, in order.
func naive(keys []string, q ListQuery) (lines []string) {
	for _, key := range keys {
		if !strings.HasPrefix(key, q.Prefix) {
			continue
		}
		line := "key " + key
		shown := key
		if q.Delimiter != "" {
			if i := strings.Index(key[len(q.Prefix):], q.Delimiter); i >= 0 {
				shown = key[:len(q.Prefix)+i+len(q.Delimiter)]
				line = "group " + shown
			}
		}
		if q.Marker != "" && shown <= q.Marker || len(lines) > 0 && lines[len(lines)-1] == line && shown != key {
			continue
		}
		if strings.HasPrefix(line, "group") && slices.Contains(lines, line) {
			continue
		}
		lines = append(lines, line)
	}
	return lines
}

func (m *model) compareObjects(t *testing.T, b *bench, q ListQuery) {
	t.Helper()
	if !m.buckets["b"] {
		return
	}
	var keys []string
	for k := range m.objects {
		if k[0] == "b" {
			keys = append(keys, k[1])
		}
	}
	slices.Sort(keys)
	want, start := naive(keys, q), q
	var got []string
	for {
		page, err := listObjects(b.db, "b", q)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, o := range page.Objects {
			lines = append(lines, "key "+o.Key)
		}
		for _, p := range page.CommonPrefixes {
			lines = append(lines, "group "+p)
		}
		slices.SortFunc(lines, func(a, b string) int { return cmp.Compare(after(a), after(b)) })
		if got = append(got, lines...); page.Next == "" {
			break
		}
		q.Marker = page.Next
	}
	if !slices.Equal(got, want) {
		t.Fatalf("objects %+v:\n got %q\nwant %q", start, got, want)
	}
}

func after(line string) string {
	_, key, _ := strings.Cut(line, " ")
	return key
}

func (m *model) compareUploads(t *testing.T, b *bench, q ListQuery) {
	t.Helper()
	if !m.buckets["b"] {
		return
	}
	open := slices.SortedFunc(maps.Values(m.uploads), func(x, y *modelUpload) int {
		return cmp.Or(cmp.Compare(x.ref.Key, y.ref.Key), cmp.Compare(x.order, y.order))
	})
	var want, got []string
	for _, u := range open {
		if u.ref.Bucket != "b" {
			continue
		}
		for _, line := range naive([]string{u.ref.Key}, q) {
			if strings.HasPrefix(line, "key") {
				want = append(want, line+" "+u.ref.ID.String())
			} else if !slices.Contains(want, line) {
				want = append(want, line)
			}
		}
	}
	start, afterID := q, ""
	for {
		page, err := listUploads(b.db, "b", q, afterID)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range page.Uploads {
			got = append(got, "key "+u.Key+" "+u.ID.String())
		}
		for _, p := range page.CommonPrefixes {
			got = append(got, "group "+p)
		}
		if page.NextKey == "" {
			break
		}
		q.Marker, afterID = page.NextKey, page.NextID
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Fatalf("uploads %+v:\n got %q\nwant %q", start, got, want)
	}
}
