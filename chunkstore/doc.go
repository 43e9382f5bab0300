// Package chunkstore keeps chunks: on a drive (Disk), in memory (Memory), and,
// behind the same Store, on the drive of another node.
//
// A chunk is written once and never changed. Writer.Commit returns only after
// the chunk would survive power loss; whatever did not get that far is gone
// when the store opens again. What a reader or a listing shows is durable or
// becomes so before the store can forget it. Every read verifies the checksum
// of each block it touches, so a reader gets the right bytes or an error
// wrapping ErrCorrupt, never a short clean end.
//
// The first failed sync fences a Disk: it takes no more writes, now or after a
// restart, and goes on serving reads. See fence.go for the reason.
//
// The package knows nothing of uploads or parts. It stores an opaque label with
// each chunk for those who do.
//
// # Directory of a store, format 2
//
//	lock                      held while a process has the store open
//	store                     identity file
//	fenced                    only in a fenced store: why, as text
//	segments/NNNNNNNN.segment chunks; the number in hexadecimal
//	tombstones                what was deleted
//
// # Identity file, format 2
//
//	offset  size  field
//	0       4     magic "PSST"
//	4       1     format version
//	5       3     zero
//	8       16    store ID
//	24      16    cluster ID
//	40      20    zero
//	60      4     CRC-32C of bytes 0-59
//
// A damaged identity file keeps the store from opening (ErrBadStore), because
// nothing else says whose chunks these are. Format 1 kept a file per chunk; it
// is refused. The cluster changes once in a while, by Relabel; the store never.
//
// # Segment, format 2
//
// Everything in a segment begins at a multiple of 4,096 bytes, a unit.
//
//	+----------------+--------+--------+-------+--------+-   -+--------+
//	| segment header | record | record | piece | record | ... | footer |
//	+----------------+--------+--------+-------+--------+-   -+--------+
//
//	segment  offset  size  field
//	header   0       4     magic "PSSG"
//	         4       1     format version
//	         5       3     zero
//	         8       4     number
//	         12      4     zero
//	         16      8     salt, random
//	         24      16    store ID
//	         40      20    zero
//	         60      4     CRC-32C of bytes 0-59
//
// The first unit begins and ends with a copy of it.
//
// # Chunk
//
// A chunk is its blocks as frames, cut into pieces of 8; the last 0 to 8 frames
// are in the record, which is what makes the chunk count. Pieces may lie in any
// segment. A chunk of 512 KiB or less is a record alone.
//
//	piece    +---------+-----+-   -+---------+-----+-------+
//	         | block 0 | CRC | ... | block 7 | CRC | zeros |
//	         +---------+-----+-   -+---------+-----+-------+
//
//	record   +---------+-----+-   -+-------+-------+-----+-------+-----+---------------+
//	         | block n | CRC | ... | zeros | table | CRC | label | CRC | header (64 B) |
//	         +---------+-----+-   -+-------+-------+-----+-------+-----+---------------+
//
//	block    layout.BlockSize bytes of payload; the last one may be shorter
//
//	table    8 bytes for each piece: number of its segment, unit at which it begins
//
//	header   offset  size  field
//	         0       4     magic "PSCK"
//	         4       1     format version
//	         5       1     chunk index
//	         6       2     label size, at most MaxLabelSize
//	         8       16    attempt ID
//	         24      8     payload size of the chunk
//	         32      8     sequence number, another for each record of the store
//	         40      4     number of pieces
//	         44      16    zero
//	         60      4     CRC-32C of the segment's salt, the unit at which the
//	                       record begins (4 bytes), and bytes 0-59
//
// Numbers are little-endian. A CRC in a piece or record is a CRC-32C of the
// attempt ID, the chunk index, a number of 8 bytes and the bytes it guards. The
// number is that of the block, -1 for the label and -2 for the table. So a
// block of another chunk, or of another place in this chunk, is as wrong as a
// flipped bit; and so is a header of another place, or of another life of this
// sector, because nobody knows the salt of a segment that is not there yet.
//
// # Footer
//
// A segment that grows no more is sealed with an index of its records. It is
// only that: a segment without a sound footer is read in full, and what is not
// whole in it does not count.
//
//	+------+-   -+------+-------+------------+
//	| item | ... | item | zeros | end (64 B) |
//	+------+-   -+------+-------+------------+
//
//	item     offset  size  field
//	         0       16    attempt ID
//	         16      1     chunk index
//	         17      1     zero
//	         18      2     label size
//	         20      4     unit at which the record begins
//	         24      8     payload size
//	         32      8     sequence number
//	         40      4     number of pieces
//	         44            the chunk's table
//
//	end      0       4     magic "PSSF"
//	         4       1     format version
//	         5       3     zero
//	         8       4     number of items
//	         12      4     size of the items
//	         16      4     unit at which the footer begins
//	         20      4     CRC-32C of the items
//	         24      36    zero
//	         60      4     CRC-32C of salt, unit, and bytes 0-59
//
// # Tombstones
//
// One after the other, and zeros. A record whose sequence number has a
// tombstone is dead. Tombstones of segments that are gone are dropped when the
// file is written anew.
//
//	offset  size  field
//	0       4     magic "PSTB"
//	4       4     number of the record's segment
//	8       8     sequence number
//	16      16    attempt ID
//	32      1     chunk index
//	33      3     zero
//	36      4     CRC-32C of bytes 0-35
//
// # Damage
//
// Damage to a block is ErrCorrupt for a range that touches it; to table, label
// or header, for Stat. An unknown version under a sound checksum is
// ErrUnavailable: a newer program wrote it.
//
// # Write order
//
// A segment's header and name are durable before anything else is written to
// it. A chunk is shown after a sync of the segments that its pieces and its
// record lie in; it is gone after a sync of its tombstone, and only then its
// room is given back. testdata/writeorder.golden holds the order, operation by
// operation.
package chunkstore
