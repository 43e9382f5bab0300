package metadata

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"partstore/internal/layout"
)

// ErrQuorum reports that the voters of a registry are, or can be, a majority:
// it needs no recovery.
var ErrQuorum = errors.New("registry has a quorum")

// Survivor is a copy of a registry that has lost its quorum, taken up without
// one: nobody votes, nothing is proposed, and the copy stays what it is. A
// registry of another cluster is made of it by Recover.
type Survivor struct {
	r       *Raft
	log     *checkedLog
	servers []raft.Server // by the latest configuration in the log, committed or not
	report  SurvivorReport
}

// SurvivorReport is what a copy knows. What the voters acknowledged after its
// last entry is not in it.
type SurvivorReport struct {
	Cluster    layout.ClusterID
	Node       layout.NodeID
	Generation Generation
	Committed  uint64              // the last log entry known to be committed
	Last       uint64              // the last log entry there is; those in between may never have been acknowledged
	LastTerm   uint64              // its term
	Time       layout.RegistryTime // of entry Committed
	Written    time.Time           // when the log was last changed, by the node's clock
	Members    []RaftMember
}

// OpenSurvivor takes up the registry in cfg.Dir, which no other process may
// use. It finds damage as Open does. Of cfg.Peers, Term is used.
func OpenSurvivor(cfg Config) (_ *Survivor, err error) {
	cfg = cfg.withDefaults()
	cfg.Existing = true
	s := &Survivor{r: newRaft(cfg)}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open registry in %s: %w", cfg.Dir, rowsError(err)), s.Close())
		}
	}()
	if info, err := cfg.disk.fs.Stat(filepath.Join(cfg.Dir, witnessName)); err == nil {
		s.report.Written = info.ModTime()
	}
	if s.log, _, err = s.r.openCopy(); err != nil {
		return nil, err
	}
	return s, s.look()
}

// Close releases the directory.
func (s *Survivor) Close() error { return s.r.Close() }

// Report says what the copy has.
func (s *Survivor) Report() SurvivorReport { return s.report }

// look reads what there is to say of the copy.
func (s *Survivor) look() error {
	rows := s.r.fsm.machine.meta
	s.report = SurvivorReport{
		Cluster: s.r.cfg.Cluster, Node: s.r.self.node, Generation: s.r.self.generation,
		Committed: rows.index, Last: rows.index, LastTerm: rows.term, Time: rows.time, Written: s.report.Written,
	}
	c, err := readServers(s.r.state.current.db)
	if err != nil {
		return err
	}
	err = s.replay(s.log.first.Load(), func(l *raft.Log) error {
		s.report.Last, s.report.LastTerm = max(l.Index, rows.index), l.Term
		if l.Type == raft.LogConfiguration && l.Index > rows.index {
			c = raft.DecodeConfiguration(l.Data)
		}
		return nil
	})
	s.servers = c.Servers
	for _, server := range c.Servers {
		s.report.Members = append(s.report.Members, RaftMember{Node: nodeOf(server.ID), Voter: server.Suffrage == raft.Voter})
	}
	if err == nil && len(s.servers) == 0 {
		err = fmt.Errorf("%w: the copy is empty", ErrInvalid)
	}
	return err
}

// replay visits the entries of the log from index on.
func (s *Survivor) replay(index uint64, visit func(*raft.Log) error) error {
	for last := s.log.last.Load(); last > 0 && index <= last; index++ {
		var l raft.Log
		if _, err := s.log.load(index, &l); err != nil {
			return err
		}
		if err := visit(&l); err != nil {
			return err
		}
	}
	return nil
}

// AskOthers asks the members the copy knows whether they are there. It returns
// why those that did not answer could not be asked, or ErrQuorum: the voters that
// answer would, with this one, be a majority. A generation that was given up does
// not answer for the one after.
func (s *Survivor) AskOthers(ctx context.Context) (silent map[layout.NodeID]error, err error) {
	type finding struct {
		server
		votes bool
		err   error
	}
	findings := make(chan finding, len(s.servers))
	asked := 0
	var voters, answering []string
	for _, peer := range s.servers {
		f := finding{server: serverOf(peer.ID), votes: peer.Suffrage == raft.Voter}
		if f.votes {
			voters = append(voters, f.node.String())
		}
		if f.server == s.r.self {
			if f.votes {
				answering = append(answering, f.node.String())
			}
			continue
		}
		asked++
		go func() { // ends with its call
			_, f.err = s.r.exchange(ctx, f.server, request{kind: messageTerm}, s.r.cfg.Peers.Term)
			findings <- f
		}()
	}
	silent = map[layout.NodeID]error{}
	for range asked {
		switch f := <-findings; {
		case f.err != nil:
			silent[f.node] = f.err
		case f.votes:
			answering = append(answering, f.node.String())
		}
	}
	if len(answering) > len(voters)/2 {
		slices.Sort(answering)
		err = fmt.Errorf("%w: of its %d voters, these would be a majority once this node runs: %s", ErrQuorum, len(voters), strings.Join(answering, ", "))
	}
	return silent, err
}

// Recover makes a registry of the copy in cfg.Dir, as RestoreBackup makes one
// of a backup. It has every entry of the copy's log, also those of which is not
// known whether they were committed: one may have been acknowledged, and who
// was told nothing must expect either.
func (s *Survivor) Recover(cfg Config, progress func(rows int)) (BackupReport, error) {
	r, w := io.Pipe()
	written := make(chan struct{})
	go func() { // ends with the pipe
		defer close(written)
		rows := s.r.state.current.db.NewSnapshot()
		err := writeBackup(w, rows, BackupInfo{s.report.Cluster, s.report.Committed, time.Now()})
		w.CloseWithError(errors.Join(err, rows.Close()))
	}()
	report, err := restore(r, cfg, progress, func(to *state) error { return s.applyRest(cfg, to) })
	r.CloseWithError(err)
	<-written
	return report, err
}

// applyRest applies the entries that the rows of the copy do not have.
func (s *Survivor) applyRest(cfg Config, to *state) error {
	var failure error
	f, err := openFSM(s.r.ctx, to, cfg.Cluster, func(err error) { failure = err })
	if err != nil {
		return err
	}
	f.digests.stop() // nobody is here to compare them
	first := max(s.log.first.Load(), s.report.Committed+1)
	return s.replay(first, func(l *raft.Log) error {
		if l.Type == raft.LogCommand || l.Type == raft.LogConfiguration {
			f.Apply(l)
		}
		return failure
	})
}
