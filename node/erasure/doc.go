// Package erasure turns one byte stream into k+m streams of shards and back.
//
// What it keeps true:
//
//   - Shard i of stripe s is block s of chunk i. The data shards of a stripe,
//     joined, are its payload; a short last stripe is padded with zeros to a
//     multiple of k and has shards of ceil(n/k) bytes.
//   - A write succeeds only with a write quorum of chunks; a read yields exactly
//     the bytes asked for or an error, never a short clean end.
//   - A read takes the blocks of a chunk in runs of a few, as they arrive. What a
//     run has before a failure is used.
//   - Memory is a few stripes for each stream, whatever the part size, and of
//     all streams together no more than was reserved.
//   - A buffer is used again only after every goroutine that may touch it let
//     go of it. One slow or frozen store therefore costs one hedge delay and a
//     buffer, not the request and never a wrong byte.
//
// An Engine lives as long as its node and owns what requests share: coders,
// buffers and the goroutines of stores that were given up. Engine.NewEncoder
// starts a write, Engine.Open a read.
//
// The package does no I/O of its own and knows no store: it is handed functions
// that create and open chunks one by one. It trusts the bytes a ShardReader
// returns, so a reader must verify its blocks.
package erasure
