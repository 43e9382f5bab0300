package main

import (
	"context"
	"fmt"
)

// stored is an object in the cluster and what it must hold.
type stored struct {
	key  string
	body object
}

// get reads length bytes of an object from offset on and verifies them; offset
// -1 reads the whole without a Range header.
func (c *client) get(ctx context.Context, s stored, offset, length int64) error {
	name, ranged := "get_range", offset >= 0
	if !ranged {
		name, offset, length = "get", 0, s.body.size()
	}
	return c.do(ctx, operation{name: name, key: s.key, known: true, send: func(ctx context.Context, to endpoint) (int64, error) {
		which := ""
		if ranged {
			which = fmt.Sprintf("bytes=%d-%d", offset, offset+length-1)
		}
		body, id, err := to.Get(ctx, c.cfg.bucket, s.key, which)
		if err != nil {
			return 0, err
		}
		defer body.Close()
		err = s.body.verify(body, offset, length)
		if b, ok := err.(*breach); ok { //nolint:errorlint // verify returns it bare
			b.requestID = id
		}
		return length, err
	}})
}

// getRange reads a range of the configured length at a random offset.
func (c *client) getRange(ctx context.Context, s stored) error {
	size := s.body.size()
	if size == 0 {
		return nil
	}
	length := min(c.cfg.rangeBytes, size)
	return c.get(ctx, s, c.rng.Int64N(size-length+1), length)
}

// getAnyRange reads a range of random length, at most the configured one.
func (c *client) getAnyRange(ctx context.Context, s stored) error {
	size := s.body.size()
	if size == 0 {
		return nil
	}
	offset := c.rng.Int64N(size)
	return c.get(ctx, s, offset, 1+c.rng.Int64N(min(c.cfg.rangeBytes, size-offset)))
}

func (c *client) deleteObject(ctx context.Context, key string) error {
	return c.do(ctx, operation{name: "delete_object", key: key, known: true, send: func(ctx context.Context, to endpoint) (int64, error) {
		return 0, to.DeleteObject(ctx, c.cfg.bucket, key)
	}})
}

// maxHeld is how many objects a client of the mixed workload keeps.
const maxHeld = 4

// hold keeps an object to be read again later, and deletes the oldest one when
// there are too many.
func (c *client) hold(ctx context.Context, s stored) error {
	c.held = append(c.held, s)
	if len(c.held) <= maxHeld {
		return nil
	}
	oldest := c.held[0]
	c.held = c.held[1:]
	return c.deleteObject(ctx, oldest.key)
}

// dropHeld deletes what the client still keeps.
func (c *client) dropHeld(ctx context.Context) error {
	for _, s := range c.held {
		if err := c.deleteObject(ctx, s.key); err != nil {
			return err
		}
	}
	c.held = nil
	return nil
}
