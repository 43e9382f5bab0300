package repair

import (
	"context"
	"time"

	"partstore/internal/layout"
	"partstore/metadata"
)

// Amount is a number of chunks and what they hold.
type Amount struct {
	Chunks int   `json:"chunks"`
	Bytes  int64 `json:"bytes"`
}

func (a *Amount) add(l layout.Layout) {
	a.Chunks++
	a.Bytes += l.Scheme.ChunkSize(l.Size)
}

// Survey is what waits in the garbage queue.
type Survey struct {
	Entries int                        `json:"entries"`
	Parts   int                        `json:"parts"`
	Waiting Amount                     `json:"waiting"`
	Due     Amount                     `json:"due"` // of those, past the grace period
	Stores  map[layout.StoreID]*Amount `json:"stores"`
	Oldest  layout.RegistryTime        `json:"oldest"` // how long the first entry has waited
}

// Survey counts what waits, by this node's copy of the queue. It changes
// nothing.
func (c *Collector) Survey(ctx context.Context) (Survey, error) {
	v := Survey{Stores: map[layout.StoreID]*Amount{}}
	now := c.cfg.Queue.Now()
	var last *metadata.Garbage
	for {
		page, err := c.cfg.Queue.Garbage(last, pageEntries)
		if err != nil || len(page) == 0 || ctx.Err() != nil {
			return v, err
		}
		if last == nil {
			v.Oldest = now - min(now, page[0].Since)
		}
		due := len(c.due(page))
		for i, g := range page {
			if err := c.surveyEntry(&v, g, i < due); err != nil {
				return v, err
			}
		}
		last = &page[len(page)-1]
	}
}

// recent is how old what RecentSurvey returns may be.
const recent = 10 * time.Second

// RecentSurvey is a Survey for those who ask often; its answer must not be
// changed.
func (c *Collector) RecentSurvey() (Survey, error) {
	c.surveys.Lock()
	defer c.surveys.Unlock()
	if c.surveyed.IsZero() || time.Since(c.surveyed) > recent {
		v, err := c.Survey(context.Background()) // for whoever asks next as well
		if err != nil {
			return Survey{}, err
		}
		c.survey, c.surveyed = v, time.Now()
	}
	return c.survey, nil
}

func (c *Collector) surveyEntry(v *Survey, g metadata.Garbage, due bool) error {
	v.Entries++
	if g.Part != nil {
		c.surveyPart(v, g.Part.Layout, due)
		return nil
	}
	for after := -1; ; {
		parts, err := c.cfg.Queue.GarbageParts(g, after, pieceParts)
		if err != nil {
			return err
		}
		for _, p := range parts {
			c.surveyPart(v, p.Layout, due)
			after = int(p.Number)
		}
		if len(parts) < pieceParts {
			return nil
		}
	}
}

func (c *Collector) surveyPart(v *Survey, l layout.Layout, due bool) {
	v.Parts++
	for i := range l.Slots {
		v.Waiting.add(l)
		if due {
			v.Due.add(l)
		}
		store, _ := c.cfg.Stores.Holder(l, i)
		if v.Stores[store] == nil {
			v.Stores[store] = &Amount{}
		}
		v.Stores[store].add(l)
	}
}
