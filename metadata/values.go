package metadata

import (
	"partstore/internal/layout"
)

// How the values of this package are written, in rows and in commands alike.

func (p *Part) code(c *coder) {
	p.codeHead(c)
	codeLayout(c, &p.Layout)
	if p.Sealed() {
		c.fixed(p.Salt[:])
	}
}

// codeHead codes what comes before the layout, which begins with the attempt.
func (p *Part) codeHead(c *coder) {
	codeUint(c, &p.Number, layout.MaxPartNumber)
	c.size(&p.Size)
	c.fixed(p.ETag[:])
	c.time(&p.Modified)
}

func codeLayout(c *coder, l *layout.Layout) {
	c.fixed(l.Attempt[:])
	codeScheme(c, &l.Scheme)
	c.size(&l.Size)
	c.uint32((*uint32)(&l.Group))
	c.bytes(&l.Slots, maxSlots)
	c.uint32(&l.Durable)
}

func codeScheme(c *coder, s *layout.Scheme) {
	c.byte(&s.Data)
	c.byte(&s.Parity)
}

func (b *Bucket) code(c *coder) {
	c.string(&b.Name, maxNameSize)
	c.string(&b.Owner, maxNameSize)
	c.time(&b.Created)
}

func (u *Usage) code(c *coder) {
	c.size(&u.Objects)
	c.size(&u.Bytes)
}

func (r *UploadRef) code(c *coder) {
	c.string(&r.Bucket, maxNameSize)
	c.string(&r.Key, maxKeySize)
	c.fixed(r.ID[:])
}

func (u *Upload) code(c *coder) {
	u.UploadRef.code(c)
	c.time(&u.Created)
	c.headers(&u.Headers)
}

func (o *Object) code(c *coder) {
	c.string(&o.Bucket, maxNameSize)
	c.string(&o.Key, maxKeySize)
	c.fixed(o.ID[:])
	c.size(&o.Size)
	c.string(&o.ETag, maxNameSize)
	codeUint(c, &o.Parts, maxParts)
	c.time(&o.Modified)
	c.headers(&o.Headers)
	c.bool(&o.Appendable)
}

func (s *Store) code(c *coder) {
	c.fixed(s.ID[:])
	c.fixed(s.Node[:])
	c.string(&s.Zone, maxNameSize)
	c.size(&s.CapacityBytes)
}

func (m *Member) code(c *coder) {
	c.fixed(m.ID[:])
	c.string(&m.Name, maxNameSize)
	c.string(&m.Zone, maxNameSize)
	c.uint32((*uint32)(&m.Incarnation))
}

func codeGroup(g *layout.Group, c *coder) {
	c.uint32((*uint32)(&g.ID))
	c.uint32(&g.Epoch)
	codeList(c, &g.Slots, maxSlots, func(s *layout.StoreID, c *coder) { c.fixed(s[:]) })
}
