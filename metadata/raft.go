package metadata

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"partstore/internal/layout"
)

// Raft is one node's copy of the registry. All methods may be called at any
// time from any goroutine.
type Raft struct {
	cfg  Config
	self server
	log  *slog.Logger

	raft      *raft.Raft
	started   chan struct{} // closed when raft is set
	transport *transport
	files     *files
	state     *state
	space     *space
	pace      pace // of the log
	fsm       *fsm
	snapshots *snapshotStore

	lead       leadership
	local      *packer         // leader: commands of this node and of followers, into the log
	remote     *packer         // follower: commands of this node, to the leader
	confirms   *rounds[uint64] // leader: read indexes
	fetches    *rounds[uint64] // follower: read indexes, from the leader
	contacts   contacts
	callNumber atomic.Uint64
	futures    futures
	synced     atomic.Int64 // 1 + cfg.elapsed of a time whose every change the rows have; 0: none

	ctx     context.Context // ends when Close begins or the registry fails
	cancel  context.CancelCauseFunc
	workers sync.WaitGroup
	close   func() error
}

var _ Registry = (*Raft)(nil)

// Raft gives up a single call to a peer after this long. Ours are bounded by
// callTimeout (propose.go).
const raftCallTimeout = 3 * time.Second

// snapshotTimeoutScale is how many bytes of a snapshot the leader allows each
// raftCallTimeout for.
const snapshotTimeoutScale = 4 << 20

// Open takes up the registry in cfg.Dir, or an empty one that waits to be
// bootstrapped or added to a cluster.
func Open(cfg Config) (_ *Raft, err error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("registry config: %w", err)
	}
	r := newRaft(cfg)
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open registry: %w", openFault(rowsError(err))), r.Close())
		}
	}()
	log, votes, err := r.openCopy()
	if err != nil {
		return nil, err
	}
	if err := r.start(log, votes); err != nil {
		return nil, err
	}
	r.work()
	return r, nil
}

func newRaft(cfg Config) *Raft {
	r := &Raft{cfg: cfg, self: cfg.owner().server, log: cfg.Logger.With("component", "registry", "node", cfg.Node), started: make(chan struct{})}
	r.lead.changing = make(chan struct{}, 1)
	r.ctx, r.cancel = context.WithCancelCause(context.Background())
	r.close = sync.OnceValue(r.shutdown)
	return r
}

// openCopy opens all files and makes sure that they fit each other.
func (r *Raft) openCopy() (log *checkedLog, votes *voteStore, err error) {
	cfg := r.cfg
	if err := prepareDir(cfg); err != nil {
		return nil, nil, err
	}
	r.space = openSpace(cfg)
	if r.state, err = openState(r.space.wrap(cfg.disk.fs), filepath.Join(cfg.Dir, "state"), r.fail); err != nil {
		return nil, nil, err
	}
	if r.fsm, err = openFSM(r.ctx, r.state, cfg.Cluster, r.fail); err != nil {
		return nil, nil, err
	}
	r.fsm.stopped = func() bool { return r.ctx.Err() != nil && r.failure() != nil }
	if r.files, err = openFiles(cfg.disk, cfg.Dir); err != nil {
		return nil, nil, err
	}
	if r.snapshots, err = openSnapshots(cfg.disk.fs, filepath.Join(cfg.Dir, "snapshots"), r.log); err != nil {
		return nil, nil, err
	}
	if log, votes, err = r.files.check(cfg.owner(), r.fail); err != nil {
		return nil, nil, err
	}
	return log, votes, r.settle(log)
}

// start makes Raft itself.
func (r *Raft) start(log *checkedLog, votes *voteStore) error {
	logger := newRaftLogger(r.cfg.Logger)
	entries, err := raft.NewLogCache(256, dutyLog{log, r.space, &r.pace, r.fail})
	if err != nil {
		return err
	}
	streams := newStreams(r.cfg.owner(), r.cfg.Raft)
	r.snapshots.stalled = streams.hangUp
	network := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:  streams,
		MaxPool: 3,
		Timeout: raftCallTimeout,
		Logger:  logger,
	})
	network.TimeoutScale = snapshotTimeoutScale
	r.transport = newTransport(r.ctx, network, votes, r.bringsUp, r.stuck, r.commitIndex, r.latestServers)
	r.raft, err = raft.NewRaft(r.raftConfig(), r.fsm, entries, votes, r.snapshots, r.transport)
	if err != nil {
		return errors.Join(err, r.transport.Close())
	}
	close(r.started)
	return r.failure() // damage Raft met while it started
}

func (r *Raft) raftConfig() *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = r.self.id()
	c.HeartbeatTimeout = r.cfg.HeartbeatTimeout
	c.ElectionTimeout = r.cfg.HeartbeatTimeout
	c.LeaderLeaseTimeout = r.cfg.LeaseTimeout
	c.CommitTimeout = r.cfg.CommitTimeout
	c.SnapshotThreshold = r.cfg.SnapshotEntries
	c.SnapshotInterval = r.cfg.SnapshotInterval
	c.TrailingLogs = r.cfg.TrailingEntries
	c.NoSnapshotRestoreOnStart = true // the rows outlive the process; see settle
	c.ShutdownOnRemove = false
	c.NoLegacyTelemetry = true
	c.Logger = newRaftLogger(r.cfg.Logger)
	return c
}

// work starts everything that runs until Close.
func (r *Raft) work() {
	r.local = newPacker(r.ctx, &r.workers, packsInFlight, r.flushToLog)
	r.remote = newPacker(r.ctx, &r.workers, packsInFlight, r.flushToLeader)
	r.confirms = newRounds(r.ctx, &r.workers, r.confirmReadIndex)
	r.fetches = newRounds(r.ctx, &r.workers, r.fetchReadIndex)
	r.workers.Go(r.watchLeader)
	r.workers.Go(r.leadWhileElected)
	r.workers.Go(r.tendMembers)
	r.workers.Go(r.proposeDigests)
	r.workers.Go(r.digestWhileOpen)
	r.workers.Go(r.watchSpace)
	r.workers.Go(r.leaveWhenFailed)
	r.workers.Go(r.replaceDamagedSnapshots)
}

// Run returns nil once ctx ends, or the reason once this node's registry is
// out of service: its copy of the log or of the state is damaged (ErrDamaged)
// or the disk failed (ErrDiskFault). A damaged copy must be replaced by an empty
// one of the next generation; after a fault of the disk, see Renew.
func (r *Raft) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-r.ctx.Done():
		return r.failure()
	}
}

// errClosed is why operations end after Close.
var errClosed = errors.New("registry closed")

// fail takes this node's registry out of service. It keeps the process from
// answering anything and from leading; the data stays as it is for a look.
func (r *Raft) fail(err error) {
	err = diskFault(err)
	if r.ctx.Err() == nil {
		r.log.Error("registry out of service", "err", err)
	}
	r.cancel(fmt.Errorf("registry out of service: %w", err))
}

// leaveWhenFailed keeps a node that is out of service from leading or voting.
func (r *Raft) leaveWhenFailed() {
	<-r.ctx.Done()
	if r.failure() != nil {
		r.drainFutures()
		r.raft.Shutdown() // Close waits for it
	}
}

// drainFutures lets Raft answer what it was asked, for it does not once it is
// told to shut down. A leader that is cut off steps down by then.
func (r *Raft) drainFutures() { r.futures.drain(2 * r.cfg.HeartbeatTimeout) }

// failure is why this node's registry is out of service, or nil.
func (r *Raft) failure() error {
	if err := context.Cause(r.ctx); err != nil && !errors.Is(err, errClosed) {
		return err
	}
	return nil
}

// Close ends all operations, which return ErrUnavailable, and releases the
// directory. It may be called twice.
func (r *Raft) Close() error { return r.close() }

func (r *Raft) shutdown() error {
	r.cancel(errClosed)
	r.workers.Wait()
	var errs []error
	if r.raft != nil {
		r.drainFutures()
		// Closing the transport first ends calls in flight, which Shutdown
		// would wait for.
		errs = append(errs, r.transport.Close(), r.endRaft())
	} else if r.cfg.Raft != nil {
		errs = append(errs, r.cfg.Raft.Close())
	}
	if r.files != nil {
		errs = append(errs, r.files.close())
	}
	if r.state != nil {
		errs = append(errs, r.state.close())
	}
	if r.space != nil {
		r.space.giveUpSpares() // the ballast stays for the next start, if there is one
		if r.failure() != nil {
			r.space.giveUpBallast()
		}
	}
	return errors.Join(errs...)
}

// endRaft waits for Raft's goroutines. That of the rows waits for ever if Pebble
// gave up while it made room for what it was to apply; it is left behind, for it
// does no more.
func (r *Raft) endRaft() error {
	ended := make(chan error, 1)
	go func() { ended <- r.raft.Shutdown().Error() }()
	var patience <-chan time.Time // none while rows can be written
	if r.state.dead.Load() {
		patience = time.After(closePatience)
	}
	select {
	case err := <-ended:
		return err
	case <-patience:
		r.log.Error("left behind a goroutine that waits for rows that cannot be written")
		return nil
	}
}

// Now returns a registry time that has passed on every node that could decide
// about it: an attempt that begins with it is never ahead of the registry. It
// may lag by TickInterval, and more on a node that is cut off.
func (r *Raft) Now() layout.RegistryTime { return layout.RegistryTime(r.fsm.time.Load()) }
