package metadata

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"partstore/internal/layout"
)

// termCounter counts the questions for terms to each node.
type termCounter struct {
	Peers
	mu    *sync.Mutex
	asked map[layout.NodeID]int
}

func (c termCounter) Term(ctx context.Context, to layout.NodeID, request []byte) ([]byte, error) {
	c.mu.Lock()
	c.asked[to]++
	c.mu.Unlock()
	return c.Peers.Term(ctx, to, request)
}

// A leader asks a majority for its term, and the rest only if one of those does
// not answer; who does not is not waited for again.
func TestAReadAsksNoMoreVotersThanItNeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, 1)
		var mu sync.Mutex
		asked := map[layout.NodeID]int{}
		w.tune = func(c *Config) { c.Peers = termCounter{c.Peers, &mu, asked} }
		w.form(5)
		w.within(time.Minute, "five voters", func() bool { return len(w.leaders()[0].voterIDs()) == 5 })
		lead := w.leaders()[0]
		ref := newUpload(t, lead, "b", "k")
		// The promoter asks everybody now and then.
		const promoter = 2
		read := func(times int) (total int) {
			mu.Lock()
			clear(asked)
			mu.Unlock()
			for range times {
				if _, err := lead.Upload(t.Context(), ref); err != nil {
					t.Fatal(err)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for _, n := range asked {
				total += n
			}
			return total
		}
		read(1) // it is known who answers
		if got, most := read(50), 2*50+4*promoter; got < 2*50 || got > most {
			t.Errorf("50 reads asked %d times, want two voters each time, %d in all at most", got, most)
		}
		mu.Lock()
		var silent layout.NodeID
		for id, n := range asked {
			if n > asked[silent] {
				silent = id
			}
		}
		mu.Unlock()
		heal := w.net.block(link{lead.node.id, silent}, link{silent, lead.node.id})
		read(1) // finds out
		if got, most := read(50), 2*50+4*promoter; got < 2*50 || got > most || asked[silent] > promoter {
			t.Errorf("50 reads asked %d times, %d at most, and the one that is silent %d times", got, most, asked[silent])
		}
		heal()
		w.close()
	})
}
