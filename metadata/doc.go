// Package metadata is the registry: the replicated record of buckets, uploads,
// parts, objects, nodes, stores and groups.
//
// It keeps three promises. A change that was acknowledged survives the loss of
// any minority of voters. Every node applies the same commands in the same
// order to the same effect. And every answer is linearizable on every node:
// "not found" is a fact about the cluster, while a node that cannot establish
// the fact says ErrUnavailable and nothing else.
//
// Raft implements Registry with hashicorp/raft as the log and Pebble as the
// state behind it. A command travels to the leader in a pack, becomes part of
// one log entry, and is decided by the state machine (machine.go and the
// apply_*.go files), which reads no clock, no configuration and nothing
// outside its own rows. A read takes a read index (readindex.go), waits until
// the local copy has applied that far, and then looks at the local rows.
//
// The package knows nothing of drives, chunks or HTTP. DESIGN.md beside this
// file has the rows, the encodings and the arguments.
package metadata
