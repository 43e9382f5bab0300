package metadata

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"slices"
)

// boltFile looks at a bbolt file from outside and says whether it is a sound
// tree. bbolt believes what it reads: a page number that points back to its own
// page ends the process in an endless recursion, and if its newest meta page is
// damaged it goes on silently from the one before, without the last
// transaction. So the pages it is about to follow are looked at first.
//
// The format is bbolt's, version 2: pages of logPageSize, of which the first
// two are metas, written in turn; each transaction writes the tree it changes
// to free pages and then the older meta. Numbers are of native byte order.
//
//	page          0   8   its own number
//	              8   2   kind
//	              10  2   number of elements
//	              12  4   number of pages it goes on in
//	              16  ... elements (16 bytes each), then their keys and values
//	meta          magic (4), version (4), page size (4), flags (4), root bucket (16),
//	              freelist (8), pages in use (8), transaction (8), FNV-64a of these (8)
//	branch        key offset from the element (4), key size (4), page (8)
//	leaf          flags (4), key offset from the element (4), key size (4), value size (4)
//	bucket        the value of a leaf element with flag 1: root page (8), sequence (8);
//	              root page 0: the bucket's only page follows
type boltFile struct{ f io.ReaderAt }

const (
	logPageSize = 4096

	boltMagic      = 0xED0CDAED
	boltVersion    = 2
	boltHeader     = 16
	boltElement    = 16
	boltMetaSize   = 64
	boltBranch     = 0x01
	boltLeaf       = 0x02
	boltBucketFlag = 0x01
	boltMaxDepth   = 16 // of a tree with more pages than any disk has
)

// boltMeta is what a meta page says.
type boltMeta struct {
	root uint64 // page of the root bucket
	used uint64 // pages at and above it do not exist
	txid uint64
}

func openBoltFile(path string) (*boltFile, *os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	return &boltFile{f}, f, nil
}

// read fills b; an end of file in it is damage, an I/O error is not.
func (f *boltFile) read(b []byte, at int64) error {
	n, err := f.f.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return damagef("log", "file ends at %d", at+int64(n))
	}
	return fmt.Errorf("read log: %w", err)
}

// meta returns the newest meta. Both must be sound, and of successive
// transactions.
func (f *boltFile) meta() (boltMeta, error) {
	one, err := f.metaAt(0)
	if err != nil {
		return boltMeta{}, err
	}
	two, err := f.metaAt(1)
	if err != nil {
		return boltMeta{}, err
	}
	if one.txid < two.txid {
		one, two = two, one
	}
	if one.txid != two.txid+1 {
		return boltMeta{}, damagef("log", "meta pages of transactions %d and %d", one.txid, two.txid)
	}
	return one, nil
}

func (f *boltFile) metaAt(page int64) (boltMeta, error) {
	var b [boltMetaSize]byte
	if err := f.read(b[:], page*logPageSize+boltHeader); err != nil {
		return boltMeta{}, err
	}
	return parseBoltMeta(b[:])
}

func parseBoltMeta(b []byte) (m boltMeta, err error) {
	order := binary.NativeEndian
	switch {
	case fnvOf(b[:boltMetaSize-8]) != order.Uint64(b[boltMetaSize-8:]):
		return m, damagef("log", "checksum of a meta page")
	case order.Uint32(b) != boltMagic, order.Uint32(b[4:]) != boltVersion, order.Uint32(b[8:]) != logPageSize:
		return m, fmt.Errorf("log: bbolt file of version %d with pages of %d bytes", order.Uint32(b[4:]), order.Uint32(b[8:]))
	}
	return boltMeta{root: order.Uint64(b[16:]), used: order.Uint64(b[40:]), txid: order.Uint64(b[48:])}, nil
}

func fnvOf(b []byte) uint64 {
	sum := fnv.New64a()
	_, _ = sum.Write(b) // it never fails
	return sum.Sum64()
}

// boltPage is a page whose elements lie inside it, with ascending keys.
type boltPage struct {
	b      []byte
	number uint64
	branch bool
	count  int
}

// page reads and checks one page.
func (f *boltFile) page(m boltMeta, number uint64) (boltPage, error) {
	if number < 2 || number >= m.used {
		return boltPage{}, damagef("log", "page %d of %d", number, m.used)
	}
	b := make([]byte, logPageSize)
	if err := f.read(b, int64(number)*logPageSize); err != nil {
		return boltPage{}, err
	}
	if more := uint64(binary.NativeEndian.Uint32(b[12:])); more > 0 {
		if more >= m.used-number {
			return boltPage{}, damagef("log", "page %d goes on in %d more", number, more)
		}
		rest := make([]byte, more*logPageSize)
		if err := f.read(rest, int64(number+1)*logPageSize); err != nil {
			return boltPage{}, err
		}
		b = append(b, rest...)
	}
	return parseBoltPage(b, number)
}

func parseBoltPage(b []byte, number uint64) (boltPage, error) {
	order := binary.NativeEndian
	if len(b) < boltHeader {
		return boltPage{}, damagef("log", "page of %d bytes", len(b))
	}
	kind := order.Uint16(b[8:])
	p := boltPage{b: b, number: number, branch: kind == boltBranch, count: int(order.Uint16(b[10:]))}
	switch {
	case order.Uint64(b) != number:
		return p, damagef("log", "page %d says it is %d", number, order.Uint64(b))
	case kind != boltBranch && kind != boltLeaf:
		return p, damagef("log", "page %d is of kind %#x", number, kind)
	case boltHeader+p.count*boltElement > len(b), p.branch && p.count == 0:
		return p, damagef("log", "page %d has %d elements", number, p.count)
	}
	for i := range p.count {
		e := p.element(i)
		offset, sizes := uint64(order.Uint32(e)), uint64(order.Uint32(e[4:]))
		if !p.branch {
			offset, sizes = uint64(order.Uint32(e[4:])), uint64(order.Uint32(e[8:]))+uint64(order.Uint32(e[12:]))
		}
		if offset < boltElement || offset+sizes > uint64(len(e)) {
			return p, damagef("log", "page %d, element %d reaches outside it", number, i)
		}
		if i > 0 && bytes.Compare(p.key(i-1), p.key(i)) >= 0 {
			return p, damagef("log", "page %d, element %d is out of order", number, i)
		}
	}
	return p, nil
}

// element returns the page from its element i on.
func (p boltPage) element(i int) []byte { return p.b[boltHeader+i*boltElement:] }

func (p boltPage) key(i int) []byte {
	e, at := p.element(i), 0
	if !p.branch {
		at = 4
	}
	offset, size := binary.NativeEndian.Uint32(e[at:]), binary.NativeEndian.Uint32(e[at+4:])
	return e[offset:][:size]
}

func (p boltPage) value(i int) []byte {
	e := p.element(i)
	offset := binary.NativeEndian.Uint32(e[4:]) + binary.NativeEndian.Uint32(e[8:])
	return e[offset:][:binary.NativeEndian.Uint32(e[12:])]
}

func (p boltPage) child(i int) uint64 { return binary.NativeEndian.Uint64(p.element(i)[8:]) }
func (p boltPage) flags(i int) uint32 { return binary.NativeEndian.Uint32(p.element(i)) }

// bounds are the keys a page may have: from low on, below high (nil: any).
type bounds struct{ low, high []byte }

func (p boltPage) within(b bounds) error {
	if p.count > 0 && (bytes.Compare(p.key(0), b.low) < 0 || b.high != nil && bytes.Compare(p.key(p.count-1), b.high) >= 0) {
		return damagef("log", "page %d has keys of another", p.number)
	}
	return nil
}

// below returns the bounds of child i.
func (p boltPage) below(i int, b bounds) bounds {
	if i+1 < p.count {
		return bounds{p.key(i), p.key(i + 1)}
	}
	return bounds{p.key(i), b.high}
}

// find returns the leaf where key is or would be, after looking at every page
// on the way to it.
func (f *boltFile) find(m boltMeta, root uint64, key []byte) (boltPage, error) {
	var b bounds
	for range boltMaxDepth {
		p, err := f.page(m, root)
		if err == nil {
			err = p.within(b)
		}
		if err != nil || !p.branch {
			return p, err
		}
		i := p.search(key)
		root, b = p.child(i), p.below(i, b)
	}
	return boltPage{}, damagef("log", "tree is more than %d pages deep", boltMaxDepth)
}

// search returns the last element that is not above key, or the first.
func (p boltPage) search(key []byte) int {
	at := 0
	for i := range p.count {
		if bytes.Compare(p.key(i), key) <= 0 {
			at = i
		}
	}
	return at
}

// checkPath looks at every page bbolt follows to find key in a bucket.
func (f *boltFile) checkPath(m boltMeta, bucket string, key []byte) error {
	p, err := f.find(m, m.root, []byte(bucket))
	if err != nil {
		return err
	}
	i := p.search([]byte(bucket))
	if p.count == 0 || string(p.key(i)) != bucket || p.flags(i) != boltBucketFlag {
		return damagef("log", "bucket %q is not there", bucket)
	}
	root, err := f.bucket(p.value(i), func(boltPage) error { return nil })
	if err == nil && root != 0 {
		_, err = f.find(m, root, key)
	}
	return err
}

// bucket returns the root page of a bucket, or passes the one it carries to
// inline.
func (f *boltFile) bucket(value []byte, inline func(boltPage) error) (root uint64, err error) {
	if len(value) < 16 {
		return 0, damagef("log", "bucket of %d bytes", len(value))
	}
	if root = binary.NativeEndian.Uint64(value); root != 0 {
		return root, nil
	}
	p, err := parseBoltPage(value[16:], 0)
	if err != nil {
		return 0, err
	}
	return 0, inline(p)
}

// boltCheck is one look at a whole tree.
type boltCheck struct {
	*boltFile
	meta boltMeta
	seen []uint64 // pages, one bit each
}

// checkTree looks at every page that can be reached: each is there once, says
// who it is, and has keys where they belong. Buckets lie in the root bucket
// only.
func (f *boltFile) checkTree(m boltMeta) error {
	c := &boltCheck{boltFile: f, meta: m}
	return c.tree(m.root, bounds{}, true, 0)
}

func (c *boltCheck) tree(number uint64, b bounds, buckets bool, depth int) error {
	if depth == boltMaxDepth {
		return damagef("log", "tree is more than %d pages deep", boltMaxDepth)
	}
	p, err := c.page(c.meta, number)
	if err != nil {
		return err
	}
	if err := errors.Join(c.once(p), p.within(b)); err != nil {
		return err
	}
	if !p.branch {
		return c.leaf(p, buckets)
	}
	for i := range p.count {
		if err := c.tree(p.child(i), p.below(i, b), buckets, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// once marks the pages of p as seen.
func (c *boltCheck) once(p boltPage) error {
	for n := p.number; n < p.number+uint64(len(p.b)/logPageSize); n++ {
		if at := int(n / 64); at >= len(c.seen) {
			c.seen = slices.Grow(c.seen, at+1-len(c.seen))[:at+1]
		}
		if c.seen[n/64]&(1<<(n%64)) != 0 {
			return damagef("log", "page %d is in the tree twice", n)
		}
		c.seen[n/64] |= 1 << (n % 64)
	}
	return nil
}

func (c *boltCheck) leaf(p boltPage, buckets bool) error {
	for i := range p.count {
		switch flags := p.flags(i); {
		case !buckets && flags != 0, buckets && flags != boltBucketFlag:
			return damagef("log", "page %d, element %d has flags %#x", p.number, i, flags)
		case !buckets:
			continue
		}
		root, err := c.bucket(p.value(i), func(p boltPage) error {
			if p.branch {
				return damagef("log", "branch page in a bucket")
			}
			return c.leaf(p, false)
		})
		if err == nil && root != 0 {
			err = c.tree(root, bounds{}, false, 0)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
