package metadata

import "github.com/hashicorp/raft"

// Who may be elected is decided by the configuration in the candidate's log,
// which is at least as long as that of each server that votes for it. Raft's
// library asks the voter's own configuration too, and refuses a candidate that
// has no vote there. So voters that were away while others got their vote
// would elect nobody: who knows of the change is refused by them, and they by
// it, for their logs are shorter. A majority would be there, and no leader,
// for ever.
//
// So the library is not told who the candidate is. It skips its check of a
// request for a vote without an ID, as from versions that sent none; that of a
// request for a pre-vote is passed by any voter's. Elections without need are
// kept off by pre-votes: who hears a leader gives none, to members and others.

// hideCandidate makes a request for a vote, or a pre-vote, that of anybody.
func (t *transport) hideCandidate(command any) {
	switch c := command.(type) {
	case *raft.RequestVoteRequest:
		c.ID = nil
	case *raft.RequestPreVoteRequest:
		for _, s := range t.servers() {
			if s.Suffrage == raft.Voter {
				c.ID = []byte(s.ID)
			}
		}
	}
}
