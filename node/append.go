package node

import (
	"context"
	"errors"

	"partstore/internal/layout"
	"partstore/metadata"
	"partstore/node/qingstor"
)

// AppendObject stores a payload as one more part of an appendable object. Which
// number it will be and which upload it belongs to is part of its chunks' label,
// so both are found out first; the registry decides whether they still hold.
func (g *gateway) AppendObject(ctx context.Context, bucket, key string, position int64, headers metadata.Headers, p qingstor.Payload) (metadata.Object, error) {
	a := metadata.AppendObject{Bucket: bucket, Key: key, Position: position, Headers: headers}
	o, err := g.registry.Object(ctx, bucket, key)
	switch {
	case errors.Is(err, metadata.ErrObjectNotFound):
		a.Create, a.ID = true, layout.NewUploadID()
	case err != nil:
		return metadata.Object{}, err
	case !o.Appendable:
		return metadata.Object{}, metadata.ErrNotAppendable
	case o.Parts > int(layout.MaxPartNumber):
		return metadata.Object{}, qingstor.ErrTooManyParts
	default:
		a.ID = o.ID
	}
	if position != o.Size {
		return metadata.Object{}, metadata.ErrPosition
	}
	number := layout.PartNumber(o.Parts)
	a.Part, err = g.storePayload(ctx, p, label{ref: metadata.UploadRef{Bucket: bucket, Key: key, ID: a.ID}, number: number})
	if err != nil {
		return metadata.Object{}, err
	}
	a.Part.Number = number
	o, err = g.registry.AppendObject(ctx, a)
	g.dropRefused(ctx, a.Part.Layout, err)
	return o, err
}
