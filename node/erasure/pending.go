package erasure

import (
	"crypto/md5"
	"errors"
)

// Pending is a body that is written to a write quorum of chunks and not yet
// committed. It ends with Commit or Abort.
type Pending struct {
	Size int64
	MD5  [md5.Size]byte

	write *write
	ended bool
}

// Good has bit i set if chunk i has all its shards.
func (p *Pending) Good() uint32 { return p.write.fleet.mask() }

// Commit commits all good chunks in parallel. It returns when all of them are
// durable, or a write quorum is and the rest exceeded the hedge delay. Bit i of
// durable is set if chunk i is durable; it is valid with an error too. The state
// of a good chunk that is not durable is unknown.
func (p *Pending) Commit() (durable uint32, err error) {
	if p.ended {
		return 0, errors.New("commit: the write has ended")
	}
	p.write.fleet.commit()
	err = p.write.fleet.await(p.write.ctx, p.write.fleet.settled)
	durable = p.write.fleet.mask()
	p.write.learn()
	p.Abort()
	return durable, err
}

// Abort drops all chunks. After Commit or Abort it does nothing.
func (p *Pending) Abort() {
	if !p.ended {
		p.ended = true
		p.write.fleet.dismiss()
	}
}
