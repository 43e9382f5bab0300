// Package peer is the protocol between nodes, both ends of it.
//
// Everything goes over one listener per node and begins as HTTP/1.1: calls of
// named services stay it, connections for the chunks of the node's stores and
// for Raft are handed over.
//
// What it keeps true: a request reaches the node it was meant for, in the
// cluster it was meant for, or is refused. A chunk is committed only if every
// block of it arrived and was verified; a stream that breaks off commits
// nothing. An error of a remote store arrives as the same sentinel that the
// local one would return, by code and never by text, and whatever else goes
// wrong is chunkstore.ErrUnavailable, which says nothing about the chunk. No
// call waits for ever: a wait without progress ends after ClientConfig.Timeout,
// or when its context does.
//
// It does not decide whom to ask, does not retry what may have been carried out
// unless that is harmless, and keeps no opinion about who is alive. It encrypts
// only if told to. DESIGN.md describes the messages.
package peer
