// Package layout holds the values every other package talks in: identifiers,
// schemes, placement groups, the layout of a part, and the arithmetic between
// them. It does no I/O, knows nobody and never reads a clock.
//
// The picture: a part is a matrix. Rows are stripes, columns are chunks, cells
// are shards. A stripe carries up to Scheme.Data × BlockSize payload bytes; a
// shard is one block of its chunk.
package layout
