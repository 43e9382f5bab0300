package qingstor

import (
	"context"
	"math"
	"net/http"

	"partstore/metadata"
)

// Pages of List Buckets.
const (
	defaultBuckets = 200
	maxBuckets     = 1000
)

type locationList struct {
	Locations []locationItem `json:"locations"`
}

type locationItem struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Endpoint string `json:"endpoint"` // a host, with its port if that is unusual
}

// listLocations names the one zone there is, which is called the same in every
// language. It has a host of its own where a label can stand before the base
// domain.
func (c *call) listLocations(context.Context) error {
	base, endpoint := c.addr.base, c.r.Host
	if base == "" && len(c.bases) > 0 {
		base = c.bases[0]
	}
	if base != "" && !isIP(base) {
		endpoint = c.zoneHost(base)
	}
	return c.json(http.StatusOK, locationList{[]locationItem{{c.Zone, c.Zone, endpoint}}})
}

type bucketList struct {
	Count   int          `json:"count"`
	Buckets []bucketItem `json:"buckets"`
}

type bucketItem struct {
	Name     string `json:"name"`
	Location string `json:"location"`
	URL      string `json:"url"`
	Created  string `json:"created"`
}

// listBuckets answers with one page of the caller's buckets and their number in
// all, by which clients know when to stop. We are one zone, so a client that
// asks for another gets an empty list.
func (c *call) listBuckets(ctx context.Context) error {
	offset, err := c.query.number("offset", 0, math.MaxInt32)
	if err != nil {
		return err
	}
	limit, err := c.query.limit(defaultBuckets, maxBuckets)
	if err != nil {
		return err
	}
	list := bucketList{Buckets: []bucketItem{}}
	if location := c.r.Header.Get("Location"); location != "" && location != c.Zone {
		return c.json(http.StatusOK, list)
	}
	buckets, total, err := c.Registry.Buckets(ctx, c.caller.Owner, offset, limit)
	if err != nil {
		return err
	}
	list.Count = total
	for _, b := range buckets {
		list.Buckets = append(list.Buckets, c.bucketItem(b))
	}
	return c.json(http.StatusOK, list)
}

func (c *call) bucketItem(b metadata.Bucket) bucketItem {
	return bucketItem{
		Name:     b.Name,
		Location: c.Zone,
		URL:      c.bucketURL(b.Name),
		Created:  b.Created.UTC().Format(timeSeconds),
	}
}

// bucketURL is a URL of a bucket as the client may use it.
func (c *call) bucketURL(name string) string {
	if len(c.BaseDomains) == 0 {
		return c.scheme() + "://" + c.r.Host + "/" + name
	}
	return c.scheme() + "://" + name + "." + c.Zone + "." + c.BaseDomains[0]
}

func (c *call) putBucket(ctx context.Context) error {
	if !validBucketName(c.addr.bucket) {
		return refuse(errInvalidBucketName, "A bucket name has 6 to 63 characters of a-z, 0-9 and dash, and neither starts nor ends with a dash")
	}
	b := metadata.Bucket{Name: c.addr.bucket, Owner: c.caller.Owner, Created: c.Now()}
	if err := c.Registry.CreateBucket(ctx, b); err != nil {
		return err
	}
	return c.empty(http.StatusCreated)
}

// headBucket has nothing left to find out: the bucket is there and the caller
// may see it.
func (c *call) headBucket(ctx context.Context) error {
	if _, err := c.Registry.Bucket(ctx, c.bucket.Name); err != nil {
		return err
	}
	return c.empty(http.StatusOK)
}

type bucketStats struct {
	bucketItem
	Status string `json:"status"`
	Count  int64  `json:"count"`
	Size   int64  `json:"size"`
}

// getBucketStats says how much a bucket holds; unfinished uploads do not count.
func (c *call) getBucketStats(ctx context.Context) error {
	usage, err := c.Registry.Usage(ctx, c.bucket.Name)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, bucketStats{
		bucketItem: c.bucketItem(c.bucket.Bucket), Status: "active", Count: usage.Objects, Size: usage.Bytes,
	})
}

func (c *call) deleteBucket(ctx context.Context) error {
	if err := c.Registry.DeleteBucket(ctx, c.bucket.Name); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}
