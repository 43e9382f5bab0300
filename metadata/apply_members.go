package metadata

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"

	"partstore/internal/layout"
)

// memberWish is one member's row of wishes.
type memberWish struct {
	Node layout.NodeID
	Wish Wish
}

func (w *memberWish) code(c *coder) {
	c.fixed(w.Node[:])
	w.Wish.code(c)
}

func (w *Wish) code(c *coder) {
	codeUint(c, w, WishGone)
}

// wishList is all rows of wishes together.
type wishList struct {
	version uint64
	of      map[layout.NodeID]Wish
}

func readWishes(rows pebble.Reader) (w wishList, err error) {
	w.of = map[layout.NodeID]Wish{}
	err = scan(rows, []byte{rowWish}, func(k, v []byte) error {
		if len(k) == 1 {
			return decodeValue(v, func(c *coder) { c.uint(&w.version) })
		}
		var node layout.NodeID
		if len(k) != 1+len(node) {
			return errMalformed
		}
		copy(node[:], k[1:])
		var wish Wish
		err := decodeValue(v, wish.code)
		w.of[node] = wish
		return err
	})
	return w, err
}

// readServers returns Raft's configuration as last applied.
func readServers(rows pebble.Reader) (c raft.Configuration, err error) {
	value, closer, err := rows.Get(serversKey())
	if err == pebble.ErrNotFound { //nolint:errorlint // Pebble's contract
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("row %q: %w", serversKey(), err)
	}
	defer closer.Close()
	return raft.DecodeConfiguration(value), nil
}

// apply records the wishes of an operator, if nobody was faster.
func (x *setWishes) apply(m *machine) (result, error) {
	return m.once(x.Request, func() (result, error) {
		var version uint64
		if _, err := m.get(wishesKey(), func(c *coder) { c.uint(&version) }); err != nil {
			return result{}, err
		}
		if version != x.Version {
			return refuse(ErrMembersChanged), nil
		}
		for _, w := range x.Wishes {
			err := m.delete(wishKey(w.Node))
			if w.Wish != WishNone {
				err = m.put(wishKey(w.Node), w.Wish.code)
			}
			if err != nil {
				return result{}, err
			}
		}
		return result{}, m.nextMembersVersion()
	})
}

// setServers records Raft's configuration.
func (m *machine) setServers(configuration []byte) error {
	if err := m.batch.Set(serversKey(), configuration, nil); err != nil {
		return err
	}
	return m.nextMembersVersion()
}

func (m *machine) nextMembersVersion() error {
	var version uint64
	code := func(c *coder) { c.uint(&version) }
	if _, err := m.get(wishesKey(), code); err != nil {
		return err
	}
	version++
	m.membersChanged = true
	return m.put(wishesKey(), code)
}
