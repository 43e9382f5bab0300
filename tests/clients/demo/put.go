package main

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/qingstor/qingstor-sdk-go/v4/service"
)

// span is the part of the source that one part holds.
type span struct{ offset, size int64 }

// partSizeOf returns the size of parts: 8 MiB, or whole MiB enough for a file so
// large that it would have too many parts.
func partSizeOf(size int64) int64 {
	const mib = 1 << 20
	return max(partSize, (size/maxParts+mib)/mib*mib)
}

// ranges cuts the source into parts. An empty source is one empty part.
func (d *show) ranges() (list []span) {
	size := partSizeOf(d.source.size)
	for offset := int64(0); offset < d.source.size; offset += size {
		list = append(list, span{offset, min(size, d.source.size-offset)})
	}
	if list == nil {
		list = []span{{}}
	}
	return list
}

// put uploads all parts, one at a time through each node.
func (d *show) put(ctx context.Context, progress io.Writer) (string, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	parts := d.ranges()
	var wg sync.WaitGroup
	for node := range d.buckets {
		wg.Go(func() {
			for number := node; number < len(parts); number += len(d.buckets) {
				if err := d.putPart(ctx, node, number, parts[number], progress); err != nil {
					cancel(fmt.Errorf("part %d through %s: %w", number, d.cluster.Nodes[node].Name, err))
					return
				}
			}
		})
	}
	wg.Wait()
	return fmt.Sprintf("%d parts through %d nodes", len(parts), min(len(parts), len(d.buckets))), context.Cause(ctx)
}

func (d *show) putPart(ctx context.Context, node, number int, part span, progress io.Writer) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	body := io.TeeReader(io.NewSectionReader(d.source, part.offset, part.size), progress)
	_, err := d.buckets[node].UploadMultipartWithContext(ctx, key, &service.UploadMultipartInput{
		UploadID: &d.upload, PartNumber: &number, ContentLength: &part.size, Body: body,
	})
	return err
}
