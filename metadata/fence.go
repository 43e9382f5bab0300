package metadata

import (
	"github.com/cockroachdb/pebble/v2"

	"partstore/internal/layout"
)

// attemptMayCommit is the fence: past it, no record can ever name the attempt.
func (m *machine) attemptMayCommit(a layout.AttemptID) bool {
	began := a.Began()
	return m.live[a.Incarnation()] && began <= m.meta.time && m.meta.time-began <= AttemptLifetime
}

// fence says which attempts may still be committed, as of some rows.
type fence struct {
	time  layout.RegistryTime
	given layout.Incarnation // the highest given to a node
	live  map[layout.Incarnation]bool
}

func readFence(rows pebble.Reader) (fence, error) {
	f := fence{live: map[layout.Incarnation]bool{}}
	var m meta
	if _, err := getRow(rows, metaKey(), m.code); err != nil {
		return f, err
	}
	f.time, f.given = m.time, m.incarnation
	return f, scan(rows, []byte{rowMember}, func(_, v []byte) error {
		var n Member
		err := decodeValue(v, n.code)
		f.live[n.Incarnation] = true
		return err
	})
}

// mayEverCommit reports whether the fence is still to come: the attempt may be
// committed now or later. Once false it is false for ever, on every node, for
// incarnations only end and registry time only grows.
func (f fence) mayEverCommit(a layout.AttemptID) bool {
	inc, began := a.Incarnation(), a.Began()
	ended := inc <= f.given && !f.live[inc]
	return !ended && (began > f.time || f.time-began <= AttemptLifetime)
}

// collectable returns those of the attempts whose chunks may be deleted: no part
// row names them, and none ever will. It looks at every part row there is, for
// nothing but the rows themselves says where an attempt could be named. Chunks
// of a row whose upload has been discarded are the garbage queue's, not ours; so
// are those of a part in the queue whose row names another attempt by now, which
// may have readers until its grace is over.
func collectable(rows pebble.Reader, attempts []layout.AttemptID) (map[layout.AttemptID]bool, error) {
	f, err := readFence(rows)
	if err != nil {
		return nil, err
	}
	free := map[layout.AttemptID]bool{}
	for _, a := range attempts {
		if !f.mayEverCommit(a) {
			free[a] = true
		}
	}
	if len(free) == 0 {
		return free, nil
	}
	err = scan(rows, []byte{rowGarbage}, func(k, v []byte) error {
		var g Garbage
		err := decodeGarbage(k, v, &g)
		if g.Part != nil {
			delete(free, g.Part.Layout.Attempt)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return free, eachAttempt(rows, []byte{rowPart}, func(a layout.AttemptID) { delete(free, a) })
}

// eachAttempt visits the attempts that the part rows with a prefix name.
func eachAttempt(rows pebble.Reader, prefix []byte, visit func(layout.AttemptID)) error {
	return scan(rows, prefix, func(_, v []byte) error {
		var p Part
		c := &coder{buf: v, decoding: true}
		p.codeHead(c)
		c.fixed(p.Layout.Attempt[:])
		visit(p.Layout.Attempt)
		return c.err
	})
}
