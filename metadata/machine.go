package metadata

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"partstore/internal/layout"
)

// AttemptLifetime is how long after its begin an attempt may be committed, in
// registry time. Results of commands are remembered as long. It is part of the
// state machine: every node must use the same value.
const AttemptLifetime layout.RegistryTime = 24 * 60 * 60 * 1000 // milliseconds

const (
	maxParts        = int(layout.MaxPartNumber-layout.MinPartNumber) + 1
	expiriesPerPack = 2*maxPackCommands + 64 // more than one pack can add
)

// machine is the state machine. It decides commands by its rows alone: no
// clock, randomness, configuration or order of a map enters, so equal logs give
// equal rows on every node.
//
// A refusal is a result. An error means this copy of the state cannot be read
// or written, or the log holds something this binary cannot read; nothing of
// the batch is kept and the node must stop using the copy.
//
// One goroutine at a time may use a machine. Readers use the rows.
type machine struct {
	db    *pebble.DB
	batch *pebble.Batch // what is being applied; also shows its own writes
	meta  meta

	// Copies of rows, rebuilt by load.
	members map[layout.NodeID]Member
	stores  map[layout.StoreID]Store
	groups  []layout.Group // slices in them are never written again: others hold them
	duties  map[layout.StoreID]Duty
	live    map[layout.Incarnation]bool

	nextExpiry     layout.RegistryTime // no expiry row is earlier
	membersChanged bool                // since fsm.publish looked
	digestDue      bool                // the entry just applied asks for a digest of the rows after it
}

// openMachine reads what db holds.
func openMachine(db *pebble.DB) (*machine, error) {
	m := &machine{
		db:      db,
		members: map[layout.NodeID]Member{},
		stores:  map[layout.StoreID]Store{},
		duties:  map[layout.StoreID]Duty{},
		live:    map[layout.Incarnation]bool{},
	}
	if _, err := getRow(db, metaKey(), m.meta.code); err != nil {
		return nil, err
	}
	return m, m.load()
}

func (m *machine) load() error {
	return errors.Join(
		scan(m.db, []byte{rowMember}, func(_, v []byte) error {
			var n Member
			err := decodeValue(v, n.code)
			m.members[n.ID], m.live[n.Incarnation] = n, true
			return err
		}),
		scan(m.db, []byte{rowStore}, func(_, v []byte) error {
			var s Store
			err := decodeValue(v, s.code)
			m.stores[s.ID] = s
			return err
		}),
		scan(m.db, []byte{rowGroup}, func(_, v []byte) error {
			var g layout.Group
			err := decodeValue(v, func(c *coder) { codeGroup(&g, c) })
			m.groups = append(m.groups, g)
			return err
		}),
		m.loadMoves(),
	)
}

// begin opens the batch that following applies write to; commit makes it and
// the applied index visible together, abandon forgets it.
func (m *machine) begin() { m.batch = m.db.NewIndexedBatch() }

func (m *machine) commit(index, term uint64) error {
	m.meta.index, m.meta.term = index, term
	if err := m.put(metaKey(), m.meta.code); err != nil {
		return err
	}
	// Not synced: the log replays what a crash takes.
	return m.batch.Commit(pebble.NoSync)
}

func (m *machine) abandon() error { return m.batch.Close() }

// applyPack decides the commands of one log entry in order.
func (m *machine) applyPack(data []byte) ([]result, error) {
	p, err := decodePack(data)
	if err != nil {
		return nil, err
	}
	m.meta.time = max(m.meta.time, p.time)
	if err := m.expire(); err != nil {
		return nil, err
	}
	results := make([]result, len(p.commands))
	for i, b := range p.commands {
		cmd, err := decodeCommand(b)
		if err != nil {
			return nil, err
		}
		if results[i], err = cmd.apply(m); err != nil {
			return nil, fmt.Errorf("command kind %d: %w", cmd.kind(), err)
		}
	}
	return results, nil
}

// once runs decide for the first command with this request ID and answers
// every later one with the same result.
func (m *machine) once(id layout.RequestID, decide func() (result, error)) (result, error) {
	var r result
	if found, err := m.get(requestKey(id), r.encode); found || err != nil {
		return r, err
	}
	r, err := decide()
	if err != nil {
		return r, err
	}
	return r, m.putFor(AttemptLifetime, requestKey(id), r.encode)
}

// firmly runs decide, unless the row says that the command was refused before,
// and remembers a refusal there. A copy of the command that was held up on its way must
// not be done after its caller has heard that it was not.
func (m *machine) firmly(key []byte, decide func() (result, error)) (result, error) {
	var r result
	if found, err := m.get(key, r.encode); found || err != nil {
		return r, err
	}
	r, err := decide()
	if err != nil || r.code == codeOK {
		return r, err
	}
	return r, m.putFor(AttemptLifetime, key, r.encode)
}

// partIsValid checks what must hold for every part record, whoever proposes it.
func (m *machine) partIsValid(p *Part) bool {
	if p.Size > MaxPartSize || !p.sizesAgree() || p.Layout.Validate() != nil {
		return false
	}
	if len(p.Layout.Slots) == 0 {
		return true // an empty part has no chunks
	}
	if int64(p.Layout.Group) >= int64(len(m.groups)) {
		return false
	}
	slots := len(m.groups[p.Layout.Group].Slots)
	for _, s := range p.Layout.Slots {
		if int(s) >= slots {
			return false
		}
	}
	return true
}

// sizesAgree reports whether the chunks hold what a payload of that size becomes.
func (p *Part) sizesAgree() bool {
	return p.Layout.Size == p.Size || p.Layout.Size == layout.SealedSize(p.Size)
}

func (m *machine) nextSequence() uint64 {
	m.meta.sequence++
	return m.meta.sequence
}

func (m *machine) get(key []byte, code func(*coder)) (bool, error) {
	return getRow(m.batch, key, code)
}

func (m *machine) has(key []byte) (bool, error) {
	return getRow(m.batch, key, nil)
}

func (m *machine) put(key []byte, code func(*coder)) error {
	value, err := encodeValue(code)
	if err != nil {
		return fmt.Errorf("row %q: %w", key, err)
	}
	return m.batch.Set(key, value, nil)
}

func (m *machine) delete(key []byte) error { return m.batch.Delete(key, nil) }

// putFor puts a row that is deleted once registry time has moved on by d.
func (m *machine) putFor(d layout.RegistryTime, key []byte, code func(*coder)) error {
	at := m.meta.time + d
	m.nextExpiry = min(m.nextExpiry, at)
	return errors.Join(m.put(key, code), m.batch.Set(expiryKey(at, key), nil, nil))
}

// digest16 shortens the encoding of a value to what a doneRow keeps.
func digest16(code func(*coder)) (d [16]byte, err error) {
	b, err := encodeValue(code)
	sum := sha256.Sum256(b)
	return [16]byte(sum[:16]), err
}
