package qingstor

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"partstore/metadata"
	"partstore/node/qingstor/picture"
)

// Bounds of image processing. Together they hold what it takes of a node's
// memory below 1 GiB, whatever pictures are asked for.
const (
	maxPictures       = 2        // at a time
	maxPicturesQueued = 64       // that wait for it
	maxPictureSource  = 10 << 20 // bytes, as documented
	maxPicturesSent   = 64 << 20 // bytes of results on their way to clients
)

var pictureLimits = picture.Limits{Decoded: 128 << 20, Pixels: 16 << 20, Result: 16 << 20}

const (
	picturePatience = 10 * time.Second // how long a picture waits for its turn
	pictureTime     = time.Minute      // how long one takes: a JPEG may have scans without end
)

// errPicturesBusy reports that others are having pictures processed.
var errPicturesBusy = errors.New("too many pictures")

// darkroom bounds the pictures in work and those on their way.
type darkroom struct {
	work   *semaphore.Weighted // pictures
	sent   *semaphore.Weighted // bytes
	queued atomic.Int32

	patience, longest time.Duration
}

func newDarkroom() *darkroom {
	return &darkroom{
		work: semaphore.NewWeighted(maxPictures), sent: semaphore.NewWeighted(maxPicturesSent), patience: picturePatience, longest: pictureTime,
	}
}

// enter waits for a turn, first come first served.
func (d *darkroom) enter(ctx context.Context) (leave func(), err error) {
	if d.queued.Add(1) > maxPicturesQueued {
		d.queued.Add(-1)
		return nil, errPicturesBusy
	}
	defer d.queued.Add(-1)
	return d.acquire(ctx, d.work, 1)
}

func (d *darkroom) acquire(ctx context.Context, s *semaphore.Weighted, n int64) (release func(), err error) {
	bounded, cancel := context.WithTimeout(ctx, d.patience)
	defer cancel()
	if s.Acquire(bounded, n) != nil {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return nil, errPicturesBusy
	}
	return func() { s.Release(n) }, nil
}

// processImage answers with what an action makes of a picture, and stores it
// besides if the action says so.
func (c *call) processImage(ctx context.Context) error {
	overrides, err := c.readOverrides()
	if err != nil {
		return err
	}
	action, err := picture.Parse(c.query.get("action"))
	if err != nil {
		return refusePicture(err)
	}
	stamps, err := c.locateStamps(ctx, action)
	if err != nil {
		return err
	}
	if err := c.authoriseSave(ctx, action.SaveTo()); err != nil {
		return err
	}
	source, err := c.openPicture(ctx, c.bucket.Name, c.addr.key)
	if err != nil {
		return err
	}
	info := source.Info()
	if done, err := c.checkConditions(info); done || err != nil {
		return err
	}
	result, release, err := c.developed(ctx, source, action, stamps)
	if err != nil {
		return err
	}
	defer release()
	if err := c.saveResult(ctx, action.SaveTo(), result); err != nil {
		return err
	}
	header := c.w.Header()
	header.Set("Last-Modified", info.Modified.UTC().Format(http.TimeFormat))
	if result.Info != nil {
		return c.json(http.StatusOK, result.Info)
	}
	header.Set("Content-Type", result.Type)
	for name := range overrides {
		header.Set(name, overrides.Get(name))
	}
	header.Set("Content-Length", strconv.Itoa(len(result.Bytes)))
	c.w.WriteHeader(http.StatusOK)
	_, _ = c.w.Write(result.Bytes) // response notes an error
	return nil
}

// developed does the action. The memory of the result is the caller's until
// release.
func (c *call) developed(ctx context.Context, source Object, action picture.Action, stamps []sourceName) (r picture.Result, release func(), err error) {
	leave, err := c.pictures.enter(ctx)
	if err != nil {
		return r, nil, err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, c.pictures.longest)
	defer cancel()
	sourceBytes, err := readPicture(ctx, source)
	if err != nil {
		return r, nil, err
	}
	var stampBytes [][]byte
	for _, name := range stamps {
		stamp, err := c.openPicture(ctx, name.bucket, name.key)
		if err != nil {
			return r, nil, err
		}
		b, err := readPicture(ctx, stamp)
		if err != nil {
			return r, nil, err
		}
		stampBytes = append(stampBytes, b)
	}
	if r, err = picture.Process(ctx, sourceBytes, action, stampBytes, pictureLimits); err != nil {
		return r, nil, refusePicture(err)
	}
	release, err = c.pictures.acquire(ctx, c.pictures.sent, int64(len(r.Bytes)))
	return r, release, err
}

// refusePicture is the refusal for an error of picture, which are fit for the
// client.
func refusePicture(err error) error {
	for _, kind := range []error{picture.ErrAction, picture.ErrUnreadable, picture.ErrTooLarge} {
		if errors.Is(err, kind) {
			return refuse(errInvalidArgument, "%s", err)
		}
	}
	return err
}

// openPicture finds an object that may be processed.
func (c *call) openPicture(ctx context.Context, bucket, key string) (Object, error) {
	o, err := c.Data.OpenObject(ctx, bucket, key)
	if err != nil {
		return nil, err
	}
	switch info := o.Info(); {
	case encrypted(info.Headers):
		return nil, refuse(errInvalidArgument, "An encrypted picture cannot be processed")
	case info.Size > maxPictureSource:
		return nil, refuse(errInvalidArgument, "A picture of more than %d bytes cannot be processed", maxPictureSource)
	}
	return o, nil
}

// readPicture reads an object from openPicture.
func readPicture(ctx context.Context, o Object) ([]byte, error) {
	body, err := openSpan(ctx, o, span{0, o.Info().Size})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	b := make([]byte, o.Info().Size)
	_, err = io.ReadFull(body, b)
	return b, err
}

// locateStamps finds the objects that the URLs of watermarks name, and lets in
// who may read them. Nothing is fetched: a URL leads to an object here, or
// nowhere.
func (c *call) locateStamps(ctx context.Context, action picture.Action) (names []sourceName, err error) {
	for _, text := range action.Stamps() {
		name, err := c.locateURL(ctx, text)
		if err != nil {
			return nil, err
		}
		if err := c.authoriseBeside(ctx, name.bucket, name.key, "get_object", reader); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// locateURL finds the object of a URL as a request to it would: its host is the
// one of this request, or another that clients reach us by.
func (c *call) locateURL(ctx context.Context, text string) (name sourceName, err error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return name, refuse(errInvalidArgument, "The picture of a watermark is not named by an http URL")
	}
	host := normalHost(u.Host)
	bound, err := c.boundBucket(ctx, host)
	if err != nil {
		return name, err
	}
	if bound == "" && !c.belowBase(host) && host != normalHost(c.r.Host) {
		return name, refuse(errInvalidArgument, "The picture of a watermark is not an object of this service")
	}
	a, err := locate(host, cmp.Or(u.EscapedPath(), "/"), c.bases, c.Zone, bound)
	if err != nil {
		return name, err
	}
	if !validBucketName(a.bucket) {
		return name, metadata.ErrBucketNotFound
	}
	return sourceName{a.bucket, a.key}, checkKey(a.key)
}

// authoriseSave lets in who may store the result.
func (c *call) authoriseSave(ctx context.Context, to *picture.Target) error {
	if to == nil {
		return nil
	}
	if !validBucketName(to.Bucket) {
		return metadata.ErrBucketNotFound
	}
	if err := checkKey(to.Key); err != nil {
		return err
	}
	return c.authoriseBeside(ctx, to.Bucket, to.Key, "put_object", writer)
}

// authoriseBeside lets in who may do an operation on an object that only the
// action names. No signature covers the action, so whoever was given a
// presigned URL could write another one into it: such a URL has only the rights
// that everybody has there.
func (c *call) authoriseBeside(ctx context.Context, bucket, key, op string, need access) error {
	rights, err := c.Registry.BucketRights(ctx, bucket)
	if err != nil {
		return err
	}
	asked := *c
	if c.query.has("signature") {
		asked.caller = nil
	}
	return asked.may(rights, key, op, need)
}

// saveResult stores a result as PUT Object would.
func (c *call) saveResult(ctx context.Context, to *picture.Target, r picture.Result) error {
	if to == nil {
		return nil
	}
	_, err := c.Data.PutObject(ctx, to.Bucket, to.Key, metadata.Headers{"content-type": r.Type},
		Payload{Body: bytes.NewReader(r.Bytes), Size: int64(len(r.Bytes))})
	return err
}
