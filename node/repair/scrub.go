package repair

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"partstore/chunkstore"
	"partstore/internal/layout"
	"partstore/metadata"
)

// Scrub reads every chunk of one store in full, slowly, and has damage healed. It
// goes on where it was when the node starts anew.
type Scrub struct {
	cfg ScrubConfig

	told int // of Damaged; only Run touches it

	mu  sync.Mutex
	now ScrubState
}

// ScrubConfig says how to scrub a store. All fields are required.
type ScrubConfig struct {
	Store chunkstore.Store // the node's own
	// Owner reads the label of a chunk: the part that names it, if any does.
	Owner  func(label []byte) (layout.UploadID, layout.PartNumber, error)
	Healer *Healer
	// Period is how long one pass over the store takes.
	Period time.Duration
	// Pick returns a random number below n: the chunk that a pass begins with, so
	// that the stores of a cluster do not read the same parts at the same time.
	Pick func(n int) int
	// Save keeps the state for the next start of the node. What is lost of it
	// is scrubbed twice.
	Save func(ScrubState) error
	// Tell is as of HealerConfig.
	Tell   func(kind, reason string)
	Logger *slog.Logger
}

// ScrubState is how far a scrub has come. Its times are of the wall clock, and
// for people.
type ScrubState struct {
	Position layout.ChunkID `json:"-"`
	After    string         `json:"after"` // Position as text; "" at the start of a pass
	// From is the position a pass began at. When it has come to the last chunk it
	// goes on with the first, and ends at From.
	From    string    `json:"from,omitempty"`
	Wrapped bool      `json:"wrapped,omitempty"`
	Began   time.Time `json:"began"` // of the pass under way
	// Verified is when the last complete pass began: everything older has been
	// read since then. Zero: there was none.
	Verified time.Time `json:"verified"`
	Damaged  int       `json:"damaged"` // found since the store's first scrub
}

// NewScrub returns a Scrub that goes on from a saved state.
func NewScrub(cfg ScrubConfig, from ScrubState) *Scrub {
	s := &Scrub{cfg: cfg, told: from.Damaged, now: from}
	if at, err := layout.ParseChunkID(from.After); err == nil {
		s.now.Position = at
	}
	return s
}

// State returns how far the scrub has come.
func (s *Scrub) State() ScrubState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// Run scrubs until ctx ends, one pass after the other.
func (s *Scrub) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := s.pass(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Info("scrub", "err", err)
			if rest(ctx, time.Minute) != nil {
				return nil
			}
		}
	}
	return nil
}

// pass reads what is left of a pass. It takes the period for the whole store, so
// a store of few chunks is read slowly, too.
func (s *Scrub) pass(ctx context.Context) error {
	total, err := s.count(ctx)
	if err != nil {
		return err
	}
	pause := s.cfg.Period / time.Duration(total+1)
	if now := s.State(); now.Position == (layout.ChunkID{}) && !now.Wrapped {
		if err := s.begin(ctx, total); err != nil {
			return err
		}
	}
	for {
		page, err := s.cfg.Store.List(ctx, s.State().Position, listPage)
		if err != nil {
			return err
		}
		if now := s.State(); now.Wrapped {
			end := from(now)
			page = slices.DeleteFunc(page, func(x chunkstore.Info) bool { return x.ID.Compare(end) > 0 })
		} else if len(page) == 0 && now.From != "" {
			s.advance(func(n *ScrubState) { n.Position, n.After, n.Wrapped = layout.ChunkID{}, "", true })
			continue
		}
		for _, info := range page {
			began := time.Now()
			if err := s.scrub(ctx, info); err != nil {
				return err
			}
			if err := rest(ctx, pause-time.Since(began)); err != nil {
				return err
			}
			s.advance(func(n *ScrubState) { n.Position, n.After = info.ID, info.ID.String() })
		}
		if len(page) == 0 {
			s.advance(func(n *ScrubState) {
				n.Position, n.After, n.From, n.Wrapped, n.Verified = layout.ChunkID{}, "", "", false, n.Began
			})
			s.save()
			s.tell()
			return rest(ctx, min(pause, time.Hour)) // an empty store may fill up
		}
		s.save()
	}
}

// begin begins a pass of so many chunks behind a random one of them, or with the first.
func (s *Scrub) begin(ctx context.Context, total int) error {
	var at layout.ChunkID
	for skip := s.cfg.Pick(total + 1); skip > 0; {
		page, err := s.cfg.Store.List(ctx, at, min(skip, listPage))
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		at, skip = page[len(page)-1].ID, skip-len(page)
	}
	s.advance(func(n *ScrubState) {
		n.Began, n.Position = time.Now(), at
		if at != (layout.ChunkID{}) {
			n.After, n.From = at.String(), at.String()
		}
	})
	return nil
}

// from is where the pass under way began.
func from(s ScrubState) layout.ChunkID {
	id, _ := layout.ParseChunkID(s.From) // else zero: from the first chunk
	return id
}

// tell tells what the passes found since the last time.
func (s *Scrub) tell() {
	found := s.State().Damaged
	if found > s.told {
		s.cfg.Tell(metadata.EventScrubDamage, fmt.Sprintf("%d chunks were damaged", found-s.told))
	}
	s.told = found
}

func (s *Scrub) count(ctx context.Context) (n int, err error) {
	for after := (layout.ChunkID{}); ; {
		page, err := s.cfg.Store.List(ctx, after, listPage)
		if err != nil || len(page) == 0 {
			return n, err
		}
		n, after = n+len(page), page[len(page)-1].ID
	}
}

func (s *Scrub) advance(change func(*ScrubState)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.now)
}

func (s *Scrub) save() {
	if err := s.cfg.Save(s.State()); err != nil {
		s.cfg.Logger.Warn("keep the position of the scrub", "err", err)
	}
}

// scrub reads one chunk and has it healed if it is damaged. A chunk that is gone
// by now, or that cannot be healed now, is left to the Healer and the next pass.
func (s *Scrub) scrub(ctx context.Context, info chunkstore.Info) error {
	err := Verify(ctx, s.cfg.Store, info.ID, info.Size)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if !errors.Is(err, chunkstore.ErrCorrupt) {
		return nil
	}
	s.advance(func(n *ScrubState) { n.Damaged++ })
	s.cfg.Logger.Warn("chunk is damaged", "chunk", info.ID, "err", err)
	upload, number, err := s.cfg.Owner(info.Label)
	if err != nil {
		return nil // its header is damaged as well, which the Healer sees
	}
	err = s.cfg.Healer.Mend(ctx, Suspect{upload, number, info.ID})
	if err != nil && ctx.Err() == nil {
		s.cfg.Logger.Info("damaged chunk not healed", "chunk", info.ID, "err", err)
	}
	return ctx.Err()
}
