package node

import (
	"context"
	"encoding/hex"
	"sync"

	"partstore/internal/layout"
	"partstore/metadata"
	"partstore/node/admin"
)

// uploadPage is how many rows one registry read for an operator fetches.
const uploadPage = 1000

// Uploads implements admin.Service.
func (o operator) Uploads(ctx context.Context, q admin.UploadQuery) (admin.UploadList, error) {
	if !o.n.isOpen() {
		return admin.UploadList{}, errStarting
	}
	buckets := []string{q.Bucket}
	if q.Bucket == "" {
		all, err := o.allBuckets(ctx)
		if err != nil {
			return admin.UploadList{}, err
		}
		buckets = all
	}
	list := admin.UploadList{Uploads: []admin.Upload{}}
	for _, bucket := range buckets {
		page, err := o.n.registry.Uploads(ctx, bucket, metadata.ListQuery{
			Prefix: q.Prefix, Marker: q.AfterKey, Limit: q.Limit - len(list.Uploads),
		}, q.AfterID)
		if err != nil {
			return admin.UploadList{}, err
		}
		for _, u := range page.Uploads {
			list.Uploads = append(list.Uploads, admin.Upload{Bucket: bucket, Key: u.Key, ID: u.ID, Created: u.Created})
		}
		if page.NextKey != "" || len(list.Uploads) == q.Limit {
			list.More = page.NextKey != "" || bucket != buckets[len(buckets)-1]
			break
		}
	}
	return list, nil
}

func (o operator) allBuckets(ctx context.Context) (names []string, err error) {
	for {
		page, total, err := o.n.registry.Buckets(ctx, "", len(names), uploadPage)
		if err != nil {
			return nil, err
		}
		for _, b := range page {
			names = append(names, b.Name)
		}
		if len(page) == 0 || len(names) >= total {
			return names, nil
		}
	}
}

// Upload implements admin.Service.
func (o operator) Upload(ctx context.Context, ref metadata.UploadRef) (admin.UploadDetail, error) {
	if !o.n.isOpen() {
		return admin.UploadDetail{}, errStarting
	}
	u, err := o.n.registry.Upload(ctx, ref)
	if err != nil {
		return admin.UploadDetail{}, err
	}
	d := admin.UploadDetail{
		Upload: admin.Upload{Bucket: u.Bucket, Key: u.Key, ID: u.ID, Created: u.Created},
		Parts:  []admin.Part{},
	}
	for after := -1; ; {
		page, err := o.n.registry.Parts(ctx, ref, after, uploadPage)
		if err != nil {
			return admin.UploadDetail{}, err
		}
		for _, p := range page.Parts {
			d.Parts = append(d.Parts, describePart(p))
			d.Size += p.Size
			after = int(p.Number)
		}
		if len(page.Parts) < uploadPage {
			return d, nil
		}
	}
}

func describePart(p metadata.Part) admin.Part {
	return admin.Part{
		Number: p.Number, Size: p.Size, ETag: hex.EncodeToString(p.ETag[:]), Modified: p.Modified,
		Scheme: p.Layout.Scheme, Group: p.Layout.Group, Attempt: p.Layout.Attempt,
	}
}

// inspections is how many chunks one InspectObject reads at a time.
const inspections = 8

// InspectObject implements admin.Service.
func (o operator) InspectObject(ctx context.Context, bucket, key string) (admin.ObjectReport, error) {
	if !o.n.isOpen() {
		return admin.ObjectReport{}, errStarting
	}
	info, parts, err := o.n.registry.ObjectParts(ctx, bucket, key)
	if err != nil {
		return admin.ObjectReport{}, err
	}
	report := admin.ObjectReport{
		Bucket: bucket, Key: key, ID: info.ID, Size: info.Size, ETag: info.ETag, Modified: info.Modified,
		Parts: make([]admin.PartReport, len(parts)),
	}
	slots := make(chan struct{}, inspections)
	var wg sync.WaitGroup
	for i, p := range parts {
		part := &report.Parts[i]
		part.Part, part.Chunks = describePart(p), make([]admin.ChunkReport, len(p.Layout.Slots))
		for j := range part.Chunks {
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				part.Chunks[j] = o.inspectSlot(ctx, p.Layout, j)
			})
		}
	}
	wg.Wait()
	return report, ctx.Err()
}

func (o operator) inspectSlot(ctx context.Context, l layout.Layout, i int) admin.ChunkReport {
	report := admin.ChunkReport{Index: i, Slot: int(l.Slots[i]), State: admin.ChunkUnavailable}
	view := o.n.currentView()
	group, ok := view.Group(l.Group)
	if !ok {
		report.Detail = "group is not known here yet"
		return report
	}
	report.Store = group.Slots[l.Slots[i]]
	report.Node = o.n.ref(view.Stores[report.Store].Node)
	store, err := o.n.storeByID(report.Store)
	if err == nil {
		report.State, err = inspectChunk(ctx, store, l.Chunk(i), l.Scheme.ChunkSize(l.Size), l.IsDurable(i))
	}
	if former, known := o.n.reach().former(l, i); known && report.State != admin.ChunkOK {
		if state, formerErr := inspectChunk(ctx, former, l.Chunk(i), l.Scheme.ChunkSize(l.Size), l.IsDurable(i)); state == admin.ChunkOK {
			report.State, err, report.Detail = state, formerErr, "with the former holder of the slot"
		}
	}
	if err != nil {
		report.Detail = err.Error()
	}
	return report
}
