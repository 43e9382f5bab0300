package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"partstore/internal/layout"
	"partstore/node/admin"
	"partstore/node/repair"
)

// scrubFile in the data directory says how far the scrub of a store has come.
func (n *Node) scrubFile(id layout.StoreID) string {
	name := "scrub.json" // of the store that is there, too
	if id != n.formation.identity().Store {
		name = fmt.Sprintf("scrub-%s.json", id)
	}
	return filepath.Join(n.cfg.DataDir, name)
}

// loadScrub returns the zero state if there is none, or none that can be read:
// then the scrub begins anew.
func (n *Node) loadScrub(file string) (s repair.ScrubState) {
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			n.log.Warn("scrub begins anew", "err", err)
		}
		return repair.ScrubState{}
	}
	return s
}

// saveScrub is not synced: a power loss costs some chunks being read again.
func saveScrub(file string, s repair.ScrubState) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

func (s *localStore) scrubbed() admin.Scrub {
	state := s.scrub.State()
	return admin.Scrub{
		Began: state.Began, Read: state.Read, Total: state.Total, Hurried: state.Hurried,
		Verified: state.Verified, Damaged: state.Damaged,
	}
}

// scrubbed is how far this node's scrubs have come: as far as the last of them.
func (n *Node) scrubbed() (all admin.Scrub) {
	for i, s := range n.ownStores() {
		one := s.scrubbed()
		if i == 0 || one.Began.Before(all.Began) {
			all.Began = one.Began
		}
		if i == 0 || one.Verified.Before(all.Verified) {
			all.Verified = one.Verified
		}
		all.Read, all.Total, all.Damaged = all.Read+one.Read, all.Total+one.Total, all.Damaged+one.Damaged
		all.Hurried = all.Hurried || one.Hurried
	}
	return all
}

// scrubRequest asks the node of a store to read it in full now.
type scrubRequest struct {
	Store layout.StoreID `json:"store"`
}

// RunScrub implements admin.Service.
func (o operator) RunScrub(ctx context.Context, id layout.StoreID) error {
	n := o.n
	if !n.isOpen() {
		return errStarting
	}
	t, err := n.registry.Topology(ctx)
	if err != nil {
		return err
	}
	s, known := t.Store(id)
	if !known {
		return fmt.Errorf("%w: store %s", admin.ErrNotFound, id)
	}
	if s.Node == n.id {
		err = n.runScrub(id)
	} else {
		_, err = callJSON[scrubRequest, struct{}](ctx, scrubRequest{id}, func(ctx context.Context, b []byte) ([]byte, error) {
			return n.peers.Call(ctx, s.Node, serviceScrub, b)
		})
	}
	if err != nil {
		return fmt.Errorf("%w: store %s: %w", admin.ErrUnavailable, id, err)
	}
	return nil
}

func (n *Node) handleScrub(_ context.Context, _ layout.NodeID, b []byte) ([]byte, error) {
	var req scrubRequest
	if err := json.Unmarshal(b, &req); err != nil {
		return nil, fmt.Errorf("scrub request: %w", err)
	}
	return []byte("{}"), n.runScrub(req.Store)
}

func (n *Node) runScrub(id layout.StoreID) error {
	s, ours := n.localStore(id)
	if !ours {
		return errors.New("it is not open")
	}
	s.scrub.Hurry()
	return nil
}
