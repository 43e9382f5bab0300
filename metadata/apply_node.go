package metadata

import (
	"errors"

	"partstore/internal/layout"
)

func (x *startNode) apply(m *machine) (result, error) {
	var given layout.Incarnation
	code := func(c *coder) { c.uint32((*uint32)(&given)) }
	r, err := m.once(x.Request, func() (result, error) { return x.start(m) })
	if err != nil || r.code != codeOK {
		return r, err
	}
	if err := decodeValue(r.payload, code); err != nil {
		return result{}, err
	}
	if m.members[x.Node].Incarnation != given {
		return refuse(ErrIncarnationStale), nil // a repeat that comes after a later start
	}
	return r, nil
}

func (x *startNode) start(m *machine) (result, error) {
	if x.Node.IsZero() {
		return refuse(ErrInvalid), nil
	}
	for _, s := range x.Stores {
		if s.ID.IsZero() {
			return refuse(ErrInvalid), nil
		}
	}
	m.meta.incarnation++
	inc := m.meta.incarnation
	delete(m.live, m.members[x.Node].Incarnation)
	m.live[inc] = true
	member := Member{ID: x.Node, Name: x.Name, Zone: x.Zone, Incarnation: inc}
	m.members[x.Node] = member
	if err := m.put(memberKey(x.Node), member.code); err != nil {
		return result{}, err
	}
	for _, s := range x.Stores {
		s.Node, s.Zone = x.Node, x.Zone
		m.stores[s.ID] = s
		if err := m.put(storeKey(s.ID), s.code); err != nil {
			return result{}, err
		}
	}
	m.meta.topologyVersion++
	payload, err := encodeValue(func(c *coder) { c.uint32((*uint32)(&inc)) })
	return result{payload: payload}, err
}

func (x *createGroups) apply(m *machine) (result, error) {
	return m.once(x.Request, func() (result, error) {
		if len(m.groups) > 0 {
			return refuse(ErrGroupsExist), nil
		}
		if !x.isValid(m) {
			return refuse(ErrInvalid), nil
		}
		var errs []error
		for _, g := range x.Groups {
			errs = append(errs, m.put(groupKey(g.ID), func(c *coder) { codeGroup(&g, c) }))
		}
		m.groups, m.meta.scheme = x.Groups, x.Scheme
		m.meta.topologyVersion++
		return result{}, errors.Join(errs...)
	})
}

// isValid wants IDs dense from 0 and, in every group, as many different and
// registered stores as the scheme has shards.
func (x *createGroups) isValid(m *machine) bool {
	if x.Scheme.Validate() != nil || len(x.Groups) == 0 {
		return false
	}
	for i, g := range x.Groups {
		if int(g.ID) != i || len(g.Slots) < x.Scheme.Total() {
			return false
		}
		seen := map[layout.StoreID]bool{}
		for _, s := range g.Slots {
			if _, known := m.stores[s]; !known || seen[s] {
				return false
			}
			seen[s] = true
		}
	}
	return true
}
