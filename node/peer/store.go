package peer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"partstore/chunkstore"
	"partstore/internal/layout"
)

// Store returns a store of another node. It costs nothing; whether node and
// store are there shows when it is used.
func (c *Client) Store(node layout.NodeID, store layout.StoreID) chunkstore.Store {
	return &remoteStore{client: c, node: node, store: store}
}

// remoteStore is a chunkstore.Store on another node.
type remoteStore struct {
	client *Client
	node   layout.NodeID
	store  layout.StoreID
}

func (s *remoteStore) chunkURL(prefix string, id layout.ChunkID) string {
	return prefix + s.store.String() + "/" + id.String()
}

// fail makes err one of the seam: everything a store does not say itself only
// means that it could not be asked.
func (s *remoteStore) fail(op string, err error) error {
	for _, known := range []error{
		chunkstore.ErrNotFound, chunkstore.ErrExists, chunkstore.ErrCorrupt, chunkstore.ErrFull,
		chunkstore.ErrFenced, chunkstore.ErrUnavailable, context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, known) && !errors.Is(err, ErrUnreachable) {
			return fmt.Errorf("%s on node %s: %w", op, s.node, err)
		}
	}
	return fmt.Errorf("%s on node %s: %w: %w", op, s.node, chunkstore.ErrUnavailable, err)
}

func (s *remoteStore) ask(ctx context.Context, method, path string) ([]byte, error) {
	to, err := s.client.resolve(s.node)
	if err != nil {
		return nil, err
	}
	return s.client.ask(ctx, to, method, path, nil)
}

// Stat implements chunkstore.Store.
func (s *remoteStore) Stat(ctx context.Context, id layout.ChunkID) (chunkstore.Info, error) {
	answer, err := s.ask(ctx, http.MethodGet, s.chunkURL(statPath, id))
	var infos []chunkstore.Info
	if err == nil {
		infos, err = parseInfos(answer)
	}
	if err == nil && (len(infos) != 1 || infos[0].ID != id) {
		err = fmt.Errorf("answer about another chunk: %w", ErrBadRequest)
	}
	if err != nil {
		return chunkstore.Info{}, s.fail("stat chunk "+id.String(), err)
	}
	return infos[0], nil
}

// Delete implements chunkstore.Store.
func (s *remoteStore) Delete(ctx context.Context, id layout.ChunkID) error {
	if _, err := s.ask(ctx, http.MethodDelete, s.chunkURL(chunkPath, id)); err != nil {
		return s.fail("delete chunk "+id.String(), err)
	}
	return nil
}

// List implements chunkstore.Store.
func (s *remoteStore) List(ctx context.Context, after layout.ChunkID, limit int) ([]chunkstore.Info, error) {
	var infos []chunkstore.Info
	for len(infos) < limit {
		page, err := s.listPage(ctx, after, min(limit-len(infos), maxListPage))
		if err != nil {
			return nil, s.fail("list chunks", err)
		}
		if len(page) == 0 {
			break
		}
		infos = append(infos, page...)
		after = page[len(page)-1].ID
	}
	return infos, nil
}

func (s *remoteStore) listPage(ctx context.Context, after layout.ChunkID, limit int) ([]chunkstore.Info, error) {
	path := listPath + s.store.String() + "?after=" + after.String() + "&limit=" + strconv.Itoa(limit)
	answer, err := s.ask(ctx, http.MethodGet, path)
	if err != nil {
		return nil, err
	}
	page, err := parseInfos(answer)
	if err != nil {
		return nil, err
	}
	for _, info := range page {
		if info.ID.Compare(after) <= 0 {
			return nil, fmt.Errorf("list out of order: %w", ErrBadRequest)
		}
		after = info.ID
	}
	return page, nil
}
