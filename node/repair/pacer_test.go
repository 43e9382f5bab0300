package repair

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// However many stores are healed at the same time, together they keep to the
// bandwidth; one that comes later pays for nothing that is over.
func TestPacerIsForAllStoresTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, began := &Pacer{}, time.Now()
		ended := make(chan time.Duration, 3)
		for range 3 {
			go func() {
				if err := p.rest(t.Context(), began, time.Second); err != nil {
					t.Error(err)
				}
				ended <- time.Since(began)
			}()
		}
		for i := range 3 {
			if got := <-ended; got != time.Duration(i+1)*time.Second {
				t.Errorf("the chunk of %d was over after %s", i+1, got)
			}
		}
		time.Sleep(time.Minute)
		began = time.Now()
		if err := p.rest(t.Context(), began, time.Second); err != nil || time.Since(began) != time.Second {
			t.Errorf("a later one took %s, %v", time.Since(began), err)
		}
		over, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.rest(over, time.Now(), time.Second); err == nil {
			t.Error("rest goes on after its context ended")
		}
	})
}
