// Package repair is the background work of a node: it frees the chunks no record
// names.
//
// Rules 3 and 4 of docs/architecture.md are kept here. A chunk is deleted for one
// of two reasons, each of which once true stays true:
//
//   - Its part was discarded: the record went first, into the garbage queue of the
//     registry, and a grace period for running readers has passed (Collector).
//   - The registry says that no record names its attempt and none ever will
//     (Orphans).
//
// Neither rests on a clock, a time-out or a belief about who is alive, so it does
// no harm if two nodes do the same work, stop half-way or act on an old copy.
package repair
