package peer_test

import (
	"errors"
	"testing"

	"partstore/chunkstore"
	"partstore/chunkstore/chunkstoretest"
	"partstore/internal/layout"
)

// confirm is what node/erasure asks of a writer.
func confirm(t *testing.T, w chunkstore.Writer) error {
	t.Helper()
	c, ok := w.(interface{ Confirm() error })
	if !ok {
		t.Fatal("writer of a remote chunk cannot confirm")
	}
	return c.Confirm()
}

func TestConfirmSaysWhetherTheStoreTakesTheChunk(t *testing.T) {
	local := chunkstore.NewMemory()
	remote := clientTo(t, serverOf(t, local), nil).Store(serverID, storeID)
	tests := []struct {
		name   string
		id     layout.ChunkID
		before func(chunkstore.Writer) error
		want   error
	}{
		{"before the first block", chunkstoretest.ID(1), func(chunkstore.Writer) error { return nil }, nil},
		{"after a block", chunkstoretest.ID(2), func(w chunkstore.Writer) error {
			return w.WriteBlock(make([]byte, layout.BlockSize))
		}, nil},
		{"twice", chunkstoretest.ID(3), func(w chunkstore.Writer) error { return confirm(t, w) }, nil},
		{"of a chunk that exists", chunkstoretest.ID(1), func(chunkstore.Writer) error { return nil }, chunkstore.ErrExists},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			w, err := remote.Create(t.Context(), tc.id, []byte("label"))
			if err != nil {
				t.Fatal(err)
			}
			defer w.Abort()
			if err := tc.before(w); err != nil {
				t.Fatal(err)
			}
			if err := confirm(t, w); !errors.Is(err, tc.want) {
				t.Fatalf("Confirm = %v, want %v", err, tc.want)
			}
			if tc.want != nil {
				return
			}
			if err := errors.Join(w.WriteBlock([]byte("rest")), w.Commit()); err != nil {
				t.Fatal(err)
			}
			if _, err := local.Stat(t.Context(), tc.id); err != nil {
				t.Errorf("chunk is not there: %v", err)
			}
		})
	}
}
