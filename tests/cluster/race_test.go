package cluster

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"

	"partstore/internal/qsclient"
)

func TestOneOfTwoPutsOfAPartWinsWhole(t *testing.T) {
	c := start(t)
	for round := range 30 {
		key := fmt.Sprintf("key-%d", round)
		id, err := c.Client(1).Initiate(t.Context(), bucket, key)
		c.Must(err)
		bodies := [][]byte{payload(uint64(round), 300_000), payload(uint64(round)+1000, 300_001)}
		var wg sync.WaitGroup
		for i, body := range bodies {
			wg.Go(func() {
				_, err := c.Client((round+i)%6+1).PutPart(t.Context(), bucket, key, id, 7, bytes.NewReader(body), int64(len(body)))
				if err != nil {
					t.Errorf("put: %v", err)
				}
			})
		}
		wg.Wait()
		c.Must(c.Client(2).Complete(t.Context(), bucket, key, id, []qsclient.Part{{Number: 7}}))
		got, err := read(t.Context(), c.Client(3), key, "")
		c.Must(err)
		if !bytes.Equal(got, bodies[0]) && !bytes.Equal(got, bodies[1]) {
			t.Fatalf("round %d: %d bytes are neither body", round, len(got))
		}
	}
}

func TestCompleteRacesAbortAndPut(t *testing.T) {
	c := start(t)
	for round := range 40 {
		key := fmt.Sprintf("key-%d", round)
		id, err := c.Client(1).Initiate(t.Context(), bucket, key)
		c.Must(err)
		first, second := payload(uint64(round), 100_000), payload(uint64(round)+1000, 100_000)
		_, err = c.Client(2).PutPart(t.Context(), bucket, key, id, 1, bytes.NewReader(first), int64(len(first)))
		c.Must(err)
		var completed, aborted, put error
		var wg sync.WaitGroup
		wg.Go(func() {
			completed = c.Client(round%6+1).Complete(t.Context(), bucket, key, id, []qsclient.Part{{Number: 1}})
		})
		wg.Go(func() { aborted = c.Client((round+2)%6+1).Abort(t.Context(), bucket, key, id) })
		wg.Go(func() {
			_, put = c.Client((round+4)%6+1).PutPart(t.Context(), bucket, key, id, 1, bytes.NewReader(second), int64(len(second)))
		})
		wg.Wait()
		c.Must(aborted, "abort") // 204 whatever the outcome
		if s := qsclient.StatusOf(completed); s != http.StatusOK && s != http.StatusNotFound {
			t.Errorf("round %d: complete: %v", round, completed)
		}
		if s := qsclient.StatusOf(put); s != http.StatusOK && s != http.StatusNotFound {
			t.Errorf("round %d: put: %v", round, put)
		}
		for node := 1; node <= 6; node++ {
			got, err := read(t.Context(), c.Client(node), key, "")
			switch {
			case completed == nil:
				if err != nil || !slices.ContainsFunc([][]byte{first, second}, func(b []byte) bool { return bytes.Equal(b, got) }) {
					t.Fatalf("round %d: completed, but node %d reads %d bytes: %v", round, node, len(got), err)
				}
			case qsclient.StatusOf(err) != http.StatusNotFound:
				t.Fatalf("round %d: aborted, but node %d reads %d bytes: %v", round, node, len(got), err)
			}
			if _, err := c.Client(node).ListParts(t.Context(), bucket, key, id, -1, 10); qsclient.StatusOf(err) != http.StatusNotFound {
				t.Fatalf("round %d: upload has ended, node %d answers %v", round, node, err)
			}
		}
	}
}
