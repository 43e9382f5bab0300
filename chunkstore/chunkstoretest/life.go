package chunkstoretest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"

	"partstore/chunkstore"
	"partstore/internal/layout"
)

func testWriterContext(t *testing.T, s chunkstore.Store) {
	for n, blocks := range []int{0, 1, 9} {
		ctx, cancel := context.WithCancel(t.Context())
		w, err := s.Create(ctx, ID(n), nil)
		if err != nil {
			t.Fatal(err)
		}
		for range blocks {
			if err := w.WriteBlock(make([]byte, layout.BlockSize)); err != nil {
				t.Fatal(err)
			}
		}
		cancel()
		checkError(t, "WriteBlock", w.WriteBlock(make([]byte, layout.BlockSize)), context.Canceled)
		checkError(t, "Commit", w.Commit(), context.Canceled)
		w.Abort()
		checkGone(t, s, ID(n))
	}
}

func testReaderContext(t *testing.T, s chunkstore.Store) {
	mustWrite(t, s, ID(0), nil, Content(ID(0), 40*layout.BlockSize))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := s.Open(ctx, ID(0), 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	buf := make([]byte, layout.BlockSize)
	if _, err := r.Next(buf); err != nil {
		t.Fatal(err)
	}
	cancel()
	_, err = r.Next(buf)
	checkError(t, "Next", err, context.Canceled)
}

func testEndedContext(t *testing.T, s chunkstore.Store) {
	mustWrite(t, s, ID(0), nil, []byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Create(ctx, ID(1), nil)
	checkError(t, "Create", err, context.Canceled)
	_, err = s.Open(ctx, ID(0), 0, -1)
	checkError(t, "Open", err, context.Canceled)
	_, err = s.Stat(ctx, ID(0))
	checkError(t, "Stat", err, context.Canceled)
	_, err = s.List(ctx, layout.ChunkID{}, 1)
	checkError(t, "List", err, context.Canceled)
	checkError(t, "Delete", s.Delete(ctx, ID(0)), context.Canceled)
	checkRead(t, s, ID(0), 0, -1, []byte("x"))
}

func testReaderClose(t *testing.T, s chunkstore.Store) {
	content := Content(ID(0), 30*layout.BlockSize)
	mustWrite(t, s, ID(0), nil, content)
	r, err := s.Open(t.Context(), ID(0), 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, layout.BlockSize)
	if _, err := r.Next(buf); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := r.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
	if _, err := r.Next(buf); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("Next after Close = %v, want an error that is no end", err)
	}
	checkRead(t, s, ID(0), 0, -1, content)
}

func testSlices(t *testing.T, s chunkstore.Store) {
	content := Content(ID(0), 6*layout.BlockSize)
	label := []byte("label")
	w, err := s.Create(t.Context(), ID(0), label)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	clear(label)
	buf := make([]byte, layout.BlockSize)
	for block := range slices.Chunk(content, layout.BlockSize) {
		copy(buf, block)
		if err := w.WriteBlock(buf); err != nil {
			t.Fatal(err)
		}
		clear(buf)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	checkRead(t, s, ID(0), 0, -1, content)
	info, err := s.Stat(t.Context(), ID(0))
	if err != nil || string(info.Label) != "label" {
		t.Fatalf("Stat = %+v, %v", info, err)
	}
	clear(info.Label)
	if info, err := s.Stat(t.Context(), ID(0)); err != nil || string(info.Label) != "label" {
		t.Errorf("Stat after the caller changed its label = %+v, %v", info, err)
	}
}

func testConcurrent(t *testing.T, s chunkstore.Store) {
	const workers, each = 8, 12
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			for i := range each {
				id := ID(i*workers + worker)
				content := Content(id, (i%5)*layout.BlockSize+i+1)
				if err := Write(t.Context(), s, id, nil, content); err != nil {
					t.Errorf("write chunk %s: %v", id, err)
					continue
				}
				got, err := Read(t.Context(), s, id, 0, -1)
				if err != nil || !bytes.Equal(got, content) {
					t.Errorf("read chunk %s = %d bytes, %v; want %d", id, len(got), err, len(content))
				}
				if i%2 == 0 {
					if err := s.Delete(t.Context(), id); err != nil {
						t.Errorf("delete chunk %s: %v", id, err)
					}
				}
			}
		})
	}
	wg.Wait()
	infos, err := s.List(t.Context(), layout.ChunkID{}, workers*each)
	if err != nil || len(infos) != workers*each/2 {
		t.Errorf("List = %d chunks, %v; want %d", len(infos), err, workers*each/2)
	}
}
