package metadata

import (
	"bytes"
	"encoding/binary"

	"partstore/internal/layout"
)

// The state is a set of rows in Pebble. The first byte of a row's key says
// what it is; DESIGN.md has the table. These are part of the state format.
const (
	rowAttempt = 'a' // attempt: it was committed once, though no part row names it now
	rowUsage   = 'B' // bucket name: objects and bytes in it
	rowBucket  = 'b' // bucket name
	rowCount   = 'c' // upload ID: how many parts an open upload has
	rowDuty    = 'S' // store ID: what the store is for, once that was decided
	rowMoves   = 'M' // group ID: how its slots came to their holders, once one changed hands
	rowDone    = 'd' // upload ID: how an upload ended
	rowDomain  = 'D' // domain: the bucket it is bound to
	rowEvent   = 'e' // one row without a number: that of the last event; number: an event
	rowGarbage = 'g' // registry time, sequence: chunks no record names any more
	rowGroup   = 'G' // group ID
	rowRepair  = 'h' // one row: what operators want of healing
	rowAccess  = 'k' // access key ID
	rowListing = 'l' // bucket, key, creation order: an open upload
	rowMeta    = 'm' // one row: applied index, registry time, counters
	rowMember  = 'n' // node ID
	rowNames   = 'N' // upload ID: how many objects name its parts, if several do
	rowObject  = 'o' // bucket, key
	rowPart    = 'p' // upload ID, part number
	rowRequest = 'r' // request ID: its result
	rowRest    = 'R' // upload ID: where the garbage queue has the parts that its object does not name
	rowStore   = 's' // store ID
	rowSetting = 't' // bucket, setting: a document of the bucket's owner
	rowUpload  = 'u' // upload ID: an open upload
	rowUser    = 'U' // user ID
	rowWish    = 'w' // one row without a node: version of the membership; node: what operators want of it
	rowExpiry  = 'x' // registry time, key of a row to delete then
	rowServers = 'z' // one row: Raft's configuration as last applied

	// Formats of the rows. Format 1 had no rowCount; format 2 no appendable
	// objects and no rowUsage. Those of format 3 are a state of format 4 that has
	// never had a rowRest, and are called 3 until there is one.
	oldestFormat = 3
	restFormat   = 4
)

func rowKey(kind byte, id []byte) []byte { return append([]byte{kind}, id...) }

func bucketKey(name string) []byte          { return rowKey(rowBucket, []byte(name)) }
func usageKey(bucket string) []byte         { return rowKey(rowUsage, []byte(bucket)) }
func uploadKey(id layout.UploadID) []byte   { return rowKey(rowUpload, id[:]) }
func countKey(id layout.UploadID) []byte    { return rowKey(rowCount, id[:]) }
func namesKey(id layout.UploadID) []byte    { return rowKey(rowNames, id[:]) }
func doneKey(id layout.UploadID) []byte     { return rowKey(rowDone, id[:]) }
func attemptKey(id layout.AttemptID) []byte { return rowKey(rowAttempt, id[:]) }
func requestKey(id layout.RequestID) []byte { return rowKey(rowRequest, id[:]) }
func restKey(id layout.UploadID) []byte     { return rowKey(rowRest, id[:]) }

// refusalKey is the request row of a command that is named by a fresh upload ID.
func refusalKey(id layout.UploadID) []byte  { return append(rowKey(rowRequest, id[:]), 'u') }
func memberKey(id layout.NodeID) []byte     { return rowKey(rowMember, id[:]) }
func storeKey(id layout.StoreID) []byte     { return rowKey(rowStore, id[:]) }
func partsPrefix(id layout.UploadID) []byte { return rowKey(rowPart, id[:]) }
func objectKey(bucket, key string) []byte   { return append(objectsPrefix(bucket), key...) }
func groupKey(id layout.GroupID) []byte {
	return binary.BigEndian.AppendUint32([]byte{rowGroup}, uint32(id))
}
func dutyKey(id layout.StoreID) []byte { return rowKey(rowDuty, id[:]) }
func movesKey(id layout.GroupID) []byte {
	return binary.BigEndian.AppendUint32([]byte{rowMoves}, uint32(id))
}
func wishesKey() []byte                   { return []byte{rowWish} }
func wishKey(id layout.NodeID) []byte     { return rowKey(rowWish, id[:]) }
func be64(b []byte, v uint64) []byte      { return binary.BigEndian.AppendUint64(b, v) }
func metaKey() []byte                     { return []byte{rowMeta} }
func serversKey() []byte                  { return []byte{rowServers} }
func objectsPrefix(bucket string) []byte  { return append(rowKey(rowObject, []byte(bucket)), 0) }
func listingsPrefix(bucket string) []byte { return append(rowKey(rowListing, []byte(bucket)), 0) }
func garbageKey(t layout.RegistryTime, seq uint64) []byte {
	return be64(be64([]byte{rowGarbage}, uint64(t)), seq)
}

func partKey(id layout.UploadID, n layout.PartNumber) []byte {
	return binary.BigEndian.AppendUint16(partsPrefix(id), uint16(n))
}

func expiryKey(t layout.RegistryTime, target []byte) []byte {
	return append(be64([]byte{rowExpiry}, uint64(t)), target...)
}

// listingKey orders open uploads by key, then creation. A key is any bytes, so
// zero bytes in it are escaped (0x00 -> 0x00 0xff) and 0x00 0x01 ends it: the
// order of rows is the order of keys, and no key is a prefix of another's row.
func listingKey(bucket, key string, seq uint64) []byte {
	b := appendEscaped(listingsPrefix(bucket), key)
	return be64(append(b, 0, 1), seq)
}

func appendEscaped(b []byte, key string) []byte {
	for i := 0; i < len(key); i++ {
		if b = append(b, key[i]); key[i] == 0 {
			b = append(b, 0xff)
		}
	}
	return b
}

// unescape reads a key up to its terminator. Rows are our own, so anything
// else is damage, reported as false.
func unescape(b []byte) (key string, ok bool) {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != 0 {
			out = append(out, b[i])
			continue
		}
		if i++; i == len(b) {
			return "", false
		}
		switch b[i] {
		case 0xff:
			out = append(out, 0)
		case 1:
			return string(out), len(b)-i-1 == 8
		default:
			return "", false
		}
	}
	return "", false
}

// successor is the smallest key above every key with the given prefix, or nil
// if there is none.
func successor(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			s := bytes.Clone(prefix[:i+1])
			s[i]++
			return s
		}
	}
	return nil
}

// meta is the one row every batch rewrites.
type meta struct {
	format          uint8  // oldestFormat if less
	index           uint64 // log index this state includes
	term            uint64 // and its term
	time            layout.RegistryTime
	sequence        uint64 // last number given to an upload or a garbage row
	incarnation     layout.Incarnation
	topologyVersion uint64
	scheme          layout.Scheme
}

func (m *meta) code(c *coder) {
	format := max(m.format, oldestFormat)
	c.byte(&format)
	if format < oldestFormat || format > restFormat {
		c.fail("state format %d; this binary reads %d to %d", format, oldestFormat, restFormat)
	}
	if c.decoding {
		m.format = format
	}
	c.uint(&m.index)
	c.uint(&m.term)
	c.uint((*uint64)(&m.time))
	c.uint(&m.sequence)
	c.uint32((*uint32)(&m.incarnation))
	c.uint(&m.topologyVersion)
	codeScheme(c, &m.scheme)
}

// uploadRow is an open upload and its place in creation order.
type uploadRow struct {
	Upload
	seq uint64
}

func (u *uploadRow) code(c *coder) {
	u.Upload.code(c)
	c.uint(&u.seq)
}

// codePartCount codes the value of a rowCount.
func codePartCount(n *int) func(*coder) {
	return func(c *coder) { codeUint(c, n, maxParts) }
}

// doneRow remembers how an upload ended, for as long as a repeat of the
// command that ended it may come.
type doneRow struct {
	seq    uint64   // creation order of the upload, for listings that stopped at it
	wish   [16]byte // digest of the command that made the object
	object *Object  // nil: aborted
}

func (d *doneRow) code(c *coder) {
	c.uint(&d.seq)
	made := d.object != nil
	c.bool(&made)
	if !made {
		return
	}
	if c.decoding {
		d.object = &Object{}
	}
	c.fixed(d.wish[:])
	d.object.code(c)
}
