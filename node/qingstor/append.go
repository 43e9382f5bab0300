package qingstor

import (
	"context"
	"math"
	"net/http"
	"strconv"

	"partstore/metadata"
)

const nextPosition = "X-Qs-Next-Append-Position"

// appendObject extends an object at its end, or creates one. What the request
// says of headers counts when it creates.
func (c *call) appendObject(ctx context.Context) error {
	position, ok := decimal[int64](c.query.get("position"), math.MaxInt64)
	if !ok || !c.query.has("append") {
		return refuse(errInvalidArgument, "Append needs the parameters append and position, which is a decimal number")
	}
	headers, err := readHeaders(c.r.Header)
	if err != nil {
		return err
	}
	payload, err := c.body.payload()
	if err != nil {
		return err
	}
	object, err := c.Data.AppendObject(ctx, c.bucket.Name, c.addr.key, position, headers, payload)
	if err != nil {
		return err
	}
	c.w.Header().Set("ETag", quoted(object.ETag))
	c.w.Header().Set(nextPosition, strconv.FormatInt(object.Size, 10))
	return c.empty(http.StatusOK)
}

// writeAppendable says of an object where the next append goes.
func writeAppendable(h http.Header, o metadata.Object) {
	if o.Appendable {
		h.Set("X-Qs-Object-Type", "appendable")
		h.Set(nextPosition, strconv.FormatInt(o.Size, 10))
	}
}
