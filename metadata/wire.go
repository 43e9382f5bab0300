package metadata

import (
	"fmt"
	"math"
	"time"

	"partstore/internal/layout"
)

// Messages between registries. Every request names the cluster and both ends;
// every answer repeats the request's number and says who answers, so an answer
// that strayed is never counted. An end is a generation of a node: what one has
// promised says nothing about another.
//
//	request  version, kind, cluster (16), from, to, number, term, body
//	answer   version, kind, from, number, status, body
//	end      node (16), generation
//
// Integers are varints, lists carry their length first. Nothing is
// larger than MaxMessageSize.
const wireVersion = 2

type messageKind uint8

const (
	messagePropose   messageKind = 1
	messageReadIndex messageKind = 2
	messageTerm      messageKind = 3
	messageMembers   messageKind = 4 // change of membership; travels as a proposal
	messageDigest    messageKind = 5 // of the rows at an index; travels as a question for the term
)

type status uint8

const (
	statusOK        status = 0
	statusNotLeader status = 1 // or not yet, or of another term: ask again
	statusRefused   status = 2 // ErrInvalid: asking again will not help

	statusMembersChanged status = 3 // these three answer messageMembers
	statusMembersUnsafe  status = 4
	statusRemoved        status = 5
)

type request struct {
	kind    messageKind
	cluster layout.ClusterID
	from    server
	to      server
	number  uint64
	term    uint64 // of the sender

	commands [][]byte       // messagePropose
	members  membersRequest // messageMembers
	index    uint64         // messageDigest: and what the sender found there
	digest   [32]byte       // messageDigest
}

func (q *request) code(c *coder) {
	codeVersion(c)
	c.byte((*uint8)(&q.kind))
	c.fixed(q.cluster[:])
	q.from.code(c)
	q.to.code(c)
	c.uint(&q.number)
	c.uint(&q.term)
	switch q.kind {
	case messagePropose:
		codeList(c, &q.commands, maxPackCommands, codeCommandBytes)
	case messageMembers:
		q.members.code(c)
	case messageDigest:
		c.uint(&q.index)
		c.fixed(q.digest[:])
	case messageReadIndex, messageTerm:
	default:
		c.fail("message kind %d", q.kind)
	}
}

type answer struct {
	kind   messageKind
	from   server
	number uint64
	status status

	results []result      // messagePropose
	index   uint64        // messageReadIndex: read index; messageTerm: applied index; messageDigest: of the digest, or 0
	term    uint64        // messageTerm
	room    room          // messageTerm
	pace    time.Duration // messageTerm: of the log; 0: not known
	reason  string        // messageMembers, if refused
	digest  [32]byte      // messageDigest
}

func (a *answer) code(c *coder) {
	codeVersion(c)
	c.byte((*uint8)(&a.kind))
	a.from.code(c)
	c.uint(&a.number)
	c.byte((*uint8)(&a.status))
	switch a.kind {
	case messagePropose:
		codeList(c, &a.results, maxPackCommands, (*result).encode)
	case messageReadIndex:
		c.uint(&a.index)
	case messageTerm:
		c.uint(&a.index)
		c.uint(&a.term)
		codeUint(c, &a.room, roomNone)
		codeUint(c, &a.pace, math.MaxInt64)
	case messageMembers:
		c.string(&a.reason, maxReasonSize)
	case messageDigest:
		c.uint(&a.index)
		c.fixed(a.digest[:])
	default:
		c.fail("message kind %d", a.kind)
	}
}

func codeVersion(c *coder) {
	version := uint8(wireVersion)
	c.byte(&version)
	if version != wireVersion {
		c.fail("message version %d; this binary reads %d", version, wireVersion)
	}
}

func codeCommandBytes(b *[]byte, c *coder) { c.bytes(b, maxCommandSize) }

// receive reads a request and checks that it is meant for this registry.
func (r *Raft) receive(b []byte, kinds ...messageKind) (request, error) {
	var q request
	if err := r.inService(); err != nil {
		return q, err
	}
	if len(b) > MaxMessageSize {
		return q, fmt.Errorf("%w: message of %d bytes", ErrInvalid, len(b))
	}
	if err := decodeValue(b, q.code); err != nil {
		return q, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if q.cluster != r.cfg.Cluster || q.to != r.self {
		return q, fmt.Errorf("%w: message for server %s of cluster %s", ErrInvalid, q.to, q.cluster)
	}
	for _, k := range kinds {
		if q.kind == k {
			return q, nil
		}
	}
	return q, fmt.Errorf("%w: message kind %d here", ErrInvalid, q.kind)
}

func (r *Raft) reply(q request, a answer) ([]byte, error) {
	a.kind, a.from, a.number = q.kind, r.self, q.number
	return encodeValue(a.code)
}
