package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const cfgTimeout = 60 * time.Second

// Bounds of what one run may be asked for.
const (
	maxClients = 4096
	maxParts   = 10_001
	maxObjects = 1000
)

// config is what the flags and the environment say.
type config struct {
	endpoints                    []string
	accessKeyID, secretAccessKey string
	bucket, workload, output     string
	dialect, region              string
	partSize, rangeSize          string
	clients, parts, objects      int
	parallel                     int
	duration, timeout            time.Duration
	ops                          int64
	retries                      int
	seed                         uint64
	strict                       bool
	serverPIDs                   []int

	sizes      sizeMix // partSize, parsed
	rangeBytes int64   // rangeSize, parsed
	rules      dialect // of that name
}

// complete fills in defaults and the environment and reports all that is wrong.
func (c *config) complete(getenv func(string) string) error {
	if c.accessKeyID == "" {
		c.accessKeyID = getenv("PARTSTORE_ACCESS_KEY_ID")
	}
	if c.secretAccessKey == "" {
		c.secretAccessKey = getenv("PARTSTORE_SECRET_ACCESS_KEY")
	}
	if c.duration == 0 && c.ops == 0 {
		c.duration = 10 * time.Second
	}
	var errs []error
	demand := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	demand(len(c.endpoints) > 0, "--endpoint is required")
	for i, e := range c.endpoints {
		u, err := url.Parse(e)
		demand(err == nil && u.Host != "" && strings.HasPrefix(u.Scheme, "http"), "--endpoint %q: want http://HOST:PORT", e)
		c.endpoints[i] = strings.TrimRight(e, "/")
	}
	demand(c.accessKeyID != "", "--access-key-id or PARTSTORE_ACCESS_KEY_ID is required")
	demand(c.secretAccessKey != "", "--secret-access-key or PARTSTORE_SECRET_ACCESS_KEY is required")
	demand(workloads[c.workload] != nil, "--workload %q is unknown", c.workload)
	var known bool
	c.rules, known = dialects[c.dialect]
	demand(known, "--dialect %q: want qingstor or s3", c.dialect)
	demand(!known || c.parts <= c.rules.lastPart+1, "--parts %d: %s takes %d", c.parts, c.dialect, c.rules.lastPart+1)
	demand(c.output == "table" || c.output == "json", "--output %q: want table or json", c.output)
	demand(c.clients >= 1 && c.clients <= maxClients, "--clients %d: want 1 to %d", c.clients, maxClients)
	demand(c.parts >= 1 && c.parts <= maxParts, "--parts %d: want 1 to %d", c.parts, maxParts)
	demand(c.parallel >= 1 && c.parallel <= maxClients, "--parallel %d: want 1 to %d", c.parallel, maxClients)
	demand(c.objects >= 1 && c.objects <= maxObjects, "--objects %d: want 1 to %d", c.objects, maxObjects)
	demand(c.duration >= 0 && c.ops >= 0 && c.retries >= 0 && c.timeout > 0, "--duration, --ops, --retries and --timeout must not be negative")
	var err error
	c.sizes, err = parseSizeMix(c.partSize)
	demand(err == nil, "--part-size: %w", err)
	c.rangeBytes, err = parseSize(c.rangeSize)
	demand(err == nil && c.rangeBytes > 0, "--range-size %q: want a size above 0", c.rangeSize)
	return errors.Join(errs...)
}

// sizeMix draws part sizes with weights.
type sizeMix []weightedSize

type weightedSize struct {
	bytes  int64
	weight int
}

func parseSizeMix(s string) (sizeMix, error) {
	var mix sizeMix
	for item := range strings.SplitSeq(s, ",") {
		text, weight, weighted := strings.Cut(item, ":")
		size, err := parseSize(text)
		if err != nil {
			return nil, err
		}
		w := 1
		if weighted {
			if w, err = strconv.Atoi(weight); err != nil || w < 1 || w > 1_000_000 {
				return nil, fmt.Errorf("weight %q: want 1 to 1000000", weight)
			}
		}
		mix = append(mix, weightedSize{size, w})
	}
	return mix, nil
}

// pick draws one size.
func (m sizeMix) pick(rng *rand.Rand) int64 {
	total := 0
	for _, s := range m {
		total += s.weight
	}
	n := rng.IntN(total)
	for _, s := range m {
		if n -= s.weight; n < 0 {
			return s.bytes
		}
	}
	panic("weights do not add up")
}

var units = []struct {
	suffix string
	factor int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}, {"", 1}}

// maxPartSize is the largest part QingStor takes.
const maxPartSize = 5 << 30

// parseSize reads a part size such as "64KiB".
func parseSize(s string) (int64, error) {
	s = strings.TrimSpace(s)
	for _, u := range units {
		digits, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 33)
		if err != nil || int64(n) > maxPartSize/u.factor {
			break
		}
		return int64(n) * u.factor, nil
	}
	return 0, fmt.Errorf("size %q: want a number with B, KiB, MiB or GiB, at most 5GiB", s)
}
