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

	mu        sync.Mutex
	now       ScrubState
	hurry     bool   // the next pass begins anew, and hurries
	interrupt func() // ends the pass under way
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
	Hurried bool      `json:"hurried,omitempty"` // the pass does not take the period: see Hurry
	Began   time.Time `json:"began"`             // of the pass under way
	// Read is how many chunks the last pass has read, and Total about how many
	// there are.
	Read  int `json:"read,omitempty"`
	Total int `json:"total,omitempty"`
	// Verified is when the last complete pass began: everything older has been
	// read since then. Zero: there was none.
	Verified time.Time `json:"verified"`
	Damaged  int       `json:"damaged"` // found since the store's first scrub
}

// NewScrub returns a Scrub that goes on from a saved state.
func NewScrub(cfg ScrubConfig, from ScrubState) *Scrub {
	s := &Scrub{cfg: cfg, told: from.Damaged, now: from, interrupt: func() {}}
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

// Hurry has all of the store read now: it ends the pass under way and begins one that
// rests after each chunk for as long as reading it took, so that half of the drive's
// time is left to clients. One that hurries already goes on.
func (s *Scrub) Hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.now.Hurried {
		s.hurry = true
		s.interrupt()
	}
}

// Run scrubs until ctx ends, one pass after the other.
func (s *Scrub) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		pass, end := context.WithCancel(ctx)
		s.enter(end)
		if err := s.pass(pass); err != nil && pass.Err() == nil {
			s.cfg.Logger.Info("scrub", "err", err)
			_ = rest(pass, time.Minute) // or until the next pass is due
		}
		end()
	}
	return nil
}

// enter goes on with the pass under way, or begins anew if somebody is in a hurry.
func (s *Scrub) enter(interrupt func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.interrupt = interrupt
	if s.hurry {
		s.hurry, s.now = false, ScrubState{Hurried: true, Began: s.now.Began, Verified: s.now.Verified, Damaged: s.now.Damaged}
	}
}

// pass reads what is left of a pass. Unless it hurries it takes the period for the
// whole store, so a store of few chunks is read slowly, too.
func (s *Scrub) pass(ctx context.Context) error {
	total, err := s.count(ctx)
	if err != nil {
		return err
	}
	s.advance(func(n *ScrubState) { n.Total = total })
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
			took := time.Since(began)
			left := pause - took
			if s.State().Hurried {
				left = took
			}
			if err := rest(ctx, left); err != nil {
				return err
			}
			s.advance(func(n *ScrubState) { n.Position, n.After, n.Read = info.ID, info.ID.String(), n.Read+1 })
		}
		if len(page) == 0 {
			s.advance(func(n *ScrubState) {
				n.Position, n.After, n.From, n.Wrapped, n.Hurried, n.Verified = layout.ChunkID{}, "", "", false, false, n.Began
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
		n.Began, n.Read, n.Position = time.Now(), 0, at
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
