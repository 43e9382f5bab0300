package metadata

import (
	"context"
	"fmt"

	"partstore/internal/layout"
)

// CreateBucket implements Registry.
func (r *Raft) CreateBucket(ctx context.Context, b Bucket) error {
	_, err := r.propose(ctx, &createBucket{Request: layout.NewRequestID(), Bucket: b})
	return err
}

// DeleteBucket implements Registry.
func (r *Raft) DeleteBucket(ctx context.Context, name string) error {
	_, err := r.propose(ctx, &deleteBucket{Request: layout.NewRequestID(), Name: name})
	return err
}

// CreateUpload implements Registry.
func (r *Raft) CreateUpload(ctx context.Context, u Upload) error {
	_, err := r.propose(ctx, &createUpload{Upload: u})
	return err
}

// CommitPart implements Registry.
func (r *Raft) CommitPart(ctx context.Context, ref UploadRef, p Part) error {
	_, err := r.propose(ctx, &commitPart{Upload: ref.ID, Key: digestKey(ref.Bucket, ref.Key), Part: p})
	return err
}

// CompleteUpload implements Registry.
func (r *Raft) CompleteUpload(ctx context.Context, c CompleteUpload) (Object, error) {
	return r.proposeObject(ctx, &completeUpload{Request: layout.NewRequestID(), CompleteUpload: c})
}

// AbortUpload implements Registry.
func (r *Raft) AbortUpload(ctx context.Context, ref UploadRef) error {
	_, err := r.propose(ctx, &abortUpload{Ref: ref})
	return err
}

// PutObject implements Registry.
func (r *Raft) PutObject(ctx context.Context, p PutObject) (Object, error) {
	return r.proposeObject(ctx, &putObject{p})
}

// AppendObject implements Registry.
func (r *Raft) AppendObject(ctx context.Context, a AppendObject) (Object, error) {
	return r.proposeObject(ctx, &appendObject{Request: layout.NewRequestID(), AppendObject: a})
}

// CopyObject implements Registry.
func (r *Raft) CopyObject(ctx context.Context, c CopyObject) (Object, error) {
	from, err := versionOf(c.Source)
	if err != nil {
		return Object{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return r.proposeObject(ctx, &copyObject{
		Request: layout.NewRequestID(), From: from,
		Bucket: c.Bucket, Key: c.Key, Headers: c.Headers, Modified: c.Modified, Move: c.Move,
	})
}

// DeleteObject implements Registry.
func (r *Raft) DeleteObject(ctx context.Context, bucket, key string) error {
	_, err := r.propose(ctx, &deleteObject{Request: layout.NewRequestID(), Bucket: bucket, Key: key})
	return err
}

// ExpireObject implements Registry.
func (r *Raft) ExpireObject(ctx context.Context, o Object) error {
	seen, err := versionOf(o)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	_, err = r.propose(ctx, &expireObject{Request: layout.NewRequestID(), From: seen})
	return err
}

// StartNode implements Registry.
func (r *Raft) StartNode(ctx context.Context, s StartNode) (inc layout.Incarnation, err error) {
	err = r.proposeFor(ctx, &startNode{s}, func(c *coder) { c.uint32((*uint32)(&inc)) })
	return inc, err
}

// CreateGroups implements Registry.
func (r *Raft) CreateGroups(ctx context.Context, scheme layout.Scheme, groups []layout.Group) error {
	_, err := r.propose(ctx, &createGroups{Request: layout.NewRequestID(), Scheme: scheme, Groups: groups})
	return err
}

func (r *Raft) proposeObject(ctx context.Context, cmd command) (o Object, err error) {
	err = r.proposeFor(ctx, cmd, o.code)
	return o, err
}

// proposeFor proposes a command that returns a value.
func (r *Raft) proposeFor(ctx context.Context, cmd command, code func(*coder)) error {
	payload, err := r.propose(ctx, cmd)
	if err != nil {
		return err
	}
	if err := decodeValue(payload, code); err != nil {
		return fmt.Errorf("result of command kind %d: %w", cmd.kind(), err)
	}
	return nil
}
