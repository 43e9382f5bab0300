// Package datadir is a node's data directory on disk: whose it is (node.json,
// LOCK), where its registry and store are, which other nodes it knew
// (peers.json), and how it is taken over, offline, into a successor cluster.
//
// What it keeps true: one process uses a directory at a time; its identity is
// the old or the new one after any crash; a registry that was given up, or that
// is of a predecessor, is never opened in its place again; and a directory that
// is half-way into a successor cluster does not start before it is there.
package datadir
