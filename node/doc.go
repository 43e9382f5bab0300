// Package node is one member of a Partstore cluster: it assembles the store,
// the registry, gossip, the peer protocol and the client and operator APIs, and
// holds the two stories the product is about, put.go and get.go.
//
// Open acquires the data directory and the listeners. Run finds the node's
// cluster (formation.go), opens registry and store (start.go) and serves until
// its context ends; then it drains (Run, drain). Close drops everything at once.
package node
