package main

import (
	"context"
	"errors"

	"partstore/internal/layout"
)

// mixedSession is the whole life of one upload.
func mixedSession(ctx context.Context, c *client) error {
	unknown := &upload{key: "partload/unknown", id: layout.NewUploadID().String()}
	if err := c.probe(ctx, unknown, "unknown"); err != nil {
		return err
	}
	u, err := c.initiate(ctx)
	if err != nil {
		return err
	}
	if err := c.fillUpload(ctx, u); err != nil || !c.more(ctx) {
		return errors.Join(err, tidy(ctx, func(ctx context.Context) error { return c.abort(ctx, u) }))
	}
	if c.rng.IntN(5) == 0 {
		return c.abortAndProbe(ctx, u)
	}
	if err := c.complete(ctx, u); err != nil {
		// The object may exist or not. Take away what there is.
		return errors.Join(err, tidy(ctx, func(ctx context.Context) error {
			return errors.Join(c.abort(ctx, u), c.deleteObject(ctx, u.key))
		}))
	}
	s := stored{u.key, u.object()}
	return errors.Join(c.probe(ctx, u, "completed"), c.readBack(ctx, s), c.hold(ctx, s))
}

// fillUpload puts parts in random order, overwrites some, and lists them.
func (c *client) fillUpload(ctx context.Context, u *upload) error {
	plan := c.planParts()
	for _, i := range c.rng.Perm(len(plan)) {
		if err := c.putPart(ctx, u, plan[i].number, plan[i].size, true); err != nil {
			return err
		}
	}
	for range c.rng.IntN(3) {
		p := plan[c.rng.IntN(len(plan))]
		if u.parts[p.number].doubtful {
			continue
		}
		if err := c.putPart(ctx, u, p.number, p.size, true); err != nil {
			return err
		}
	}
	return c.list(ctx, u)
}

type plannedPart struct {
	number int
	size   int64
}

// planParts draws ascending part numbers with gaps. A part that is too small to
// be followed by another ends the upload.
func (c *client) planParts() (plan []plannedPart) {
	number := c.rng.IntN(2)
	for range 1 + c.rng.IntN(c.cfg.parts) {
		size := c.cfg.sizes.pick(c.rng)
		plan = append(plan, plannedPart{number, size})
		number += 1 + c.rng.IntN(3)
		if size < c.cfg.rules.minPartSize || number > c.cfg.rules.lastPart {
			break
		}
	}
	return plan
}

func (c *client) abortAndProbe(ctx context.Context, u *upload) error {
	if err := c.abort(ctx, u); err != nil {
		return err
	}
	return errors.Join(c.probe(ctx, u, "aborted"), c.probe(ctx, u, "aborted"))
}

// readBack reads a new object, and one that has been there for a while.
func (c *client) readBack(ctx context.Context, s stored) error {
	err := errors.Join(c.get(ctx, s, -1, 0), c.getAnyRange(ctx, s), c.getAnyRange(ctx, s))
	if len(c.held) > 0 {
		err = errors.Join(err, c.get(ctx, c.held[c.rng.IntN(len(c.held))], -1, 0))
	}
	return err
}
