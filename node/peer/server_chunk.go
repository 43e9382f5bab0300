package peer

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"

	"partstore/chunkstore"
	"partstore/internal/layout"
)

// sendBufferSize is how much of a chunk is sent at a time, in bytes.
const sendBufferSize = 4*maxRecordSize + 4<<10

var (
	recordBuffers = sync.Pool{New: func() any { return new([maxRecordSize]byte) }}
	sendBuffers   = sync.Pool{New: func() any { return new([sendBufferSize]byte) }}
)

func (s *Server) store(r *http.Request) (chunkstore.Store, error) {
	id, err := layout.ParseStoreID(r.PathValue("store"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadRequest, err)
	}
	store, ok := s.cfg.Stores(id)
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrUnknownStore, id)
	}
	return store, nil
}

func (s *Server) chunk(r *http.Request) (chunkstore.Store, layout.ChunkID, error) {
	store, err := s.store(r)
	if err != nil {
		return nil, layout.ChunkID{}, err
	}
	id, err := layout.ParseChunkID(r.PathValue("chunk"))
	if err != nil {
		return nil, layout.ChunkID{}, fmt.Errorf("%w: %w", ErrBadRequest, err)
	}
	return store, id, nil
}

func (s *Server) deleteChunk(w http.ResponseWriter, r *http.Request, _ layout.NodeID) error {
	store, id, err := s.chunk(r)
	if err != nil {
		return err
	}
	if err := store.Delete(r.Context(), id); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

func (s *Server) statChunk(w http.ResponseWriter, r *http.Request, _ layout.NodeID) error {
	store, id, err := s.chunk(r)
	if err != nil {
		return err
	}
	info, err := store.Stat(r.Context(), id)
	if err != nil {
		return err
	}
	_, _ = w.Write(appendInfo(nil, info)) // the asker may have gone
	return nil
}

func (s *Server) listChunks(w http.ResponseWriter, r *http.Request, _ layout.NodeID) error {
	store, err := s.store(r)
	if err != nil {
		return err
	}
	query := r.URL.Query()
	after, err1 := layout.ParseChunkID(query.Get("after"))
	limit, err2 := strconv.Atoi(query.Get("limit"))
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("%w: %w", ErrBadRequest, err)
	}
	infos, err := store.List(r.Context(), after, min(limit, maxListPage))
	if err != nil {
		return err
	}
	var answer []byte
	for _, info := range infos {
		answer = appendInfo(answer, info)
	}
	_, _ = w.Write(answer) // the asker may have gone
	return nil
}
