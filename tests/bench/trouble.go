package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"syscall"
	"time"

	"partstore/internal/processes"
)

// victims are the nodes that meet trouble: the last ones, and no leader, whose
// end is another matter (scripts/campaign -test.run Pauses).
func (t trouble) victims(ctx context.Context, c *processes.Cluster) ([]int, error) {
	if t.kind == "" {
		return nil, nil
	}
	leader, err := leaderOf(ctx, c)
	if err != nil {
		return nil, err
	}
	var victims []int
	for i := nodes; len(victims) < t.nodes; i-- {
		if i != leader {
			victims = append(victims, i)
		}
	}
	return victims, nil
}

func leaderOf(ctx context.Context, c *processes.Cluster) (int, error) {
	client, err := c.Admin(1)
	if err != nil {
		return 0, err
	}
	for {
		status, err := client.Status(ctx)
		if err == nil && status.Leader != nil {
			var i int
			_, err := fmt.Sscanf(status.Leader.Name, "node%d", &i)
			return i, err
		}
		select {
		case <-ctx.Done():
			return 0, errors.Join(errors.New("no leader"), err, ctx.Err())
		case <-time.After(pollInterval):
		}
	}
}

const pollInterval = 20 * time.Millisecond

var (
	readsServed = regexp.MustCompile(`(?m)^partstore_http_requests_total\{.*op="get_object".*\} [1-9]`)
	partsTaken  = regexp.MustCompile(`(?m)^partstore_http_requests_total\{.*op="upload_part".*\} [1-9]`)
)

// strike brings the trouble about once the load runs. To stop nodes means to
// stop them as soon as reads are served: the objects are whole then, and the
// reads that follow must rebuild. The others strike a while into the load.
func (t trouble) strike(ctx context.Context, c *processes.Cluster, victims []int, after time.Duration) error {
	if t.kind == "" {
		return nil
	}
	sign := partsTaken
	if t.kind == stopped {
		sign, after = readsServed, 0
	}
	for !served(ctx, c, victims, sign) {
		if err := sleep(ctx, pollInterval); err != nil {
			return err
		}
	}
	if err := sleep(ctx, after); err != nil {
		return err
	}
	for _, i := range victims {
		var err error
		switch t.kind {
		case stopped:
			err = c.Stop(i)
		case frozen:
			err = c.Signal(i, syscall.SIGSTOP)
		case killed:
			err = c.Kill(i)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// end lets frozen nodes go on, so that they can be stopped.
func (t trouble) end(c *processes.Cluster, victims []int) (err error) {
	if t.kind != frozen {
		return nil
	}
	for _, i := range victims {
		err = errors.Join(err, c.Signal(i, syscall.SIGCONT))
	}
	return err
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// served reports whether the metrics of any node show the sign.
func served(ctx context.Context, c *processes.Cluster, victims []int, sign *regexp.Regexp) bool {
	for i := 1; i <= nodes; i++ {
		if !slices.Contains(victims, i) && sign.Match(scrape(ctx, c.AdminURL(i)+"/metrics")) {
			return true
		}
	}
	return false
}

// scrape returns a node's metrics, or nothing if it does not answer.
func scrape(ctx context.Context, url string) []byte {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		return nil
	}
	return b.Bytes()
}
