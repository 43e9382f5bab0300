package main

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"sync"
	"time"
)

// workload is one kind of load.
type workload struct {
	prepare func(ctx context.Context, c *client) error // before the measured time; may be nil
	session func(ctx context.Context, c *client) error // repeated by every client
	cleanup func(ctx context.Context, c *client) error // after it; may be nil
}

// workloads are the kinds of load by name.
var workloads = map[string]*workload{
	"mixed":          {session: mixedSession},
	"put":            {session: putSession},
	"upload":         {session: uploadSession},
	"get":            {prepare: makeObjects, session: getSession, cleanup: deleteObjects},
	"range":          {prepare: makeObjects, session: rangeSession, cleanup: deleteObjects},
	"initiate-abort": {session: initiateAbortSession},
	"list-parts":     {prepare: makeParts, session: listSession, cleanup: abortParts},
}

// putSession puts the parts of one upload and aborts it, so that a long run
// does not fill the drives.
func putSession(ctx context.Context, c *client) error {
	u, err := c.initiate(ctx)
	if err != nil {
		return err
	}
	for number := range c.cfg.parts {
		if err == nil && c.more(ctx) {
			err = c.putPart(ctx, u, number, c.cfg.sizes.pick(c.rng), false)
		}
	}
	return errors.Join(err, tidy(ctx, func(ctx context.Context) error { return c.abort(ctx, u) }))
}

// uploadSession makes one object of all parts, several of which are under way
// at a time, and deletes it. The whole counts as an operation of its own.
func uploadSession(ctx context.Context, c *client) error {
	began := time.Now()
	u, err := c.initiate(ctx)
	if err != nil {
		return err
	}
	if err := c.putParts(ctx, u); err != nil {
		return errors.Join(err, tidy(ctx, func(ctx context.Context) error { return c.abort(ctx, u) }))
	}
	if err := c.complete(ctx, u); err != nil {
		return errors.Join(err, tidy(ctx, func(ctx context.Context) error {
			return errors.Join(c.abort(ctx, u), c.deleteObject(ctx, u.key))
		}))
	}
	c.stats.succeeded("upload", time.Since(began), 0)
	return tidy(ctx, func(ctx context.Context) error { return c.deleteObject(ctx, u.key) })
}

// putParts puts all parts of an upload, cfg.parallel at a time.
func (c *client) putParts(ctx context.Context, u *upload) error {
	lanes := make([]upload, min(c.cfg.parallel, c.cfg.parts))
	errs := make([]error, len(lanes))
	var wg sync.WaitGroup
	for i := range lanes {
		lanes[i] = upload{key: u.key, id: u.id, parts: make(map[int]*part)}
		lane := &client{load: c.load, rng: rand.New(rand.NewPCG(c.rng.Uint64(), 0))}
		wg.Go(func() {
			for number := i; number < c.cfg.parts && errs[i] == nil; number += len(lanes) {
				errs[i] = lane.putPart(ctx, &lanes[i], number, c.cfg.sizes.pick(lane.rng), false)
			}
		})
	}
	wg.Wait()
	for _, lane := range lanes {
		maps.Copy(u.parts, lane.parts)
	}
	return errors.Join(errs...)
}

func getSession(ctx context.Context, c *client) error {
	return c.get(ctx, c.objects[c.rng.IntN(len(c.objects))], -1, 0)
}

func rangeSession(ctx context.Context, c *client) error {
	return c.getRange(ctx, c.objects[c.rng.IntN(len(c.objects))])
}

func initiateAbortSession(ctx context.Context, c *client) error {
	u, err := c.initiate(ctx)
	if err != nil {
		return err
	}
	return tidy(ctx, func(ctx context.Context) error { return c.abort(ctx, u) })
}

func listSession(ctx context.Context, c *client) error { return c.list(ctx, c.listed) }

// makeObjects makes the objects that get and range read.
func makeObjects(ctx context.Context, c *client) error {
	for range c.cfg.objects {
		u, err := c.initiate(ctx)
		if err != nil {
			return err
		}
		for number := range c.cfg.parts {
			size := c.cfg.sizes.pick(c.rng)
			if err := c.putPart(ctx, u, number, size, false); err != nil {
				return err
			}
			if size < c.cfg.rules.minPartSize {
				break
			}
		}
		if err := c.complete(ctx, u); err != nil {
			return err
		}
		c.objects = append(c.objects, stored{u.key, u.object()})
	}
	return nil
}

func deleteObjects(ctx context.Context, c *client) error {
	for _, s := range c.objects {
		if err := c.deleteObject(ctx, s.key); err != nil {
			return err
		}
	}
	return nil
}

// makeParts makes the upload that list-parts lists.
func makeParts(ctx context.Context, c *client) (err error) {
	if c.listed, err = c.initiate(ctx); err != nil {
		return err
	}
	return c.putParts(ctx, c.listed)
}

func abortParts(ctx context.Context, c *client) error {
	if c.listed == nil {
		return nil
	}
	return c.abort(ctx, c.listed)
}
