package metadata

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"partstore/internal/layout"
)

// Event is something an operator may want to know of afterwards: a decision, or
// a change of state. The registry keeps the last MaxEvents.
type Event struct {
	Sequence uint64              // given by the registry, one more for each
	Time     layout.RegistryTime // given by the registry
	Kind     string              // one of the Event constants, or of those that decide
	Node     layout.NodeID       // it is about, or that saw it; may be zero
	Store    layout.StoreID      // it is about; may be zero
	Reason   string              // for people
}

// Kinds of events. They are for filters and alerts, and do not change.
const (
	EventDuty          = "store-duty"     // a store is for something else from here on
	EventSlotsMove     = "slots-move"     // the controller begins to give slots to other stores
	EventStoreFenced   = "store-fenced"   // a store takes no more writes, for good
	EventStoreMissing  = "store-missing"  // a node started without a store, or left a directory for one alone
	EventHealBlocked   = "heal-blocked"   // a node found chunks it cannot heal now
	EventHealClear     = "heal-clear"     // it could, since
	EventRebuilt       = "chunks-rebuilt" // a pass of a node's healer rebuilt some
	EventWidened       = "parts-widened"  // a pass of a node's healer gave narrow parts the full scheme
	EventScrubDamage   = "scrub-damage"   // a pass of a node's scrub found some damaged
	EventGarbageNamed  = "garbage-named"  // a record names what is in the garbage queue, against all rules
	EventMember        = "member-changed" // an operator decided about the membership
	EventRepairChanged = "repair-changed" // an operator paused, resumed or throttled healing
)

// Bounds of events.
const (
	MaxEvents       = 1000 // kept
	MaxEventsAtOnce = 64   // recorded by one command
	MaxEventReason  = 1024 // bytes
)

func (e *Event) code(c *coder) {
	c.uint((*uint64)(&e.Time))
	e.codeNews(c)
}

// codeNews codes what the registry does not give.
func (e *Event) codeNews(c *coder) {
	c.string(&e.Kind, maxNameSize)
	c.fixed(e.Node[:])
	c.fixed(e.Store[:])
	c.string(&e.Reason, MaxEventReason)
}

func eventKey(sequence uint64) []byte { return be64([]byte{rowEvent}, sequence) }

// lastEventKey is the row that has the sequence number of the last event. It
// comes before all of them.
func lastEventKey() []byte { return []byte{rowEvent} }

// note appends an event and lets go of the one that is too old for the ring.
func (m *machine) note(e Event) error {
	var last uint64
	code := func(c *coder) { c.uint(&last) }
	if _, err := m.get(lastEventKey(), code); err != nil {
		return err
	}
	last++
	e.Sequence, e.Time = last, m.meta.time
	if len(e.Reason) > MaxEventReason {
		e.Reason = e.Reason[:MaxEventReason]
	}
	err := errors.Join(m.put(lastEventKey(), code), m.put(eventKey(last), e.code))
	if last > MaxEvents {
		err = errors.Join(err, m.delete(eventKey(last-MaxEvents)))
	}
	return err
}

// recordEvents appends events that somebody saw.
type recordEvents struct {
	Request layout.RequestID
	Events  []Event
}

func (*recordEvents) kind() commandKind { return kindRecordEvents }
func (x *recordEvents) code(c *coder) {
	c.fixed(x.Request[:])
	codeList(c, &x.Events, MaxEventsAtOnce, (*Event).codeNews)
}

func (x *recordEvents) apply(m *machine) (result, error) {
	return m.once(x.Request, func() (result, error) {
		for _, e := range x.Events {
			if e.Kind == "" {
				return refuse(ErrInvalid), nil
			}
		}
		for _, e := range x.Events {
			if err := m.note(e); err != nil {
				return result{}, err
			}
		}
		return result{}, nil
	})
}

// RecordEvents appends up to MaxEventsAtOnce events, once however often it is
// called with the same request. It is for changes, not for counts: what comes
// often belongs into a metric.
func (r *Raft) RecordEvents(ctx context.Context, request layout.RequestID, events []Event) error {
	_, err := r.propose(ctx, &recordEvents{Request: request, Events: events})
	return err
}

// Events returns the last events of this node's copy, at most limit, oldest
// first, and the time of the registry to hold theirs against.
func (r *Raft) Events(limit int) (events []Event, now layout.RegistryTime, err error) {
	err = r.asTheyAre(func(rows pebble.Reader) error {
		events, now, err = lastEvents(rows, limit)
		return err
	})
	return events, now, err
}

func lastEvents(rows pebble.Reader, limit int) (events []Event, now layout.RegistryTime, err error) {
	var m meta
	var last uint64
	if _, err := getRow(rows, metaKey(), m.code); err != nil {
		return nil, 0, err
	}
	if _, err := getRow(rows, lastEventKey(), func(c *coder) { c.uint(&last) }); err != nil {
		return nil, 0, err
	}
	limit = max(0, min(limit, MaxEvents))
	for n := last - min(last, uint64(limit)) + 1; n <= last; n++ {
		e := Event{Sequence: n}
		found, err := getRow(rows, eventKey(n), e.code)
		if err != nil {
			return nil, 0, err
		}
		if found { // else it left the ring between two looks
			events = append(events, e)
		}
	}
	return events, m.time, nil
}

// event checks a row of the ring.
func (k *rowCheck) event(key, value []byte) error {
	if len(key) == 0 {
		return decodeValue(value, func(c *coder) { c.uint(&k.lastEvent) })
	}
	if len(key) != 8 {
		return fmt.Errorf("%w: event", errMalformed)
	}
	if n := binary.BigEndian.Uint64(key); n > k.lastEvent || n+MaxEvents <= k.lastEvent {
		k.problem("event %d is kept, the last one is %d", n, k.lastEvent)
	}
	return decodeValue(value, new(Event).code)
}
