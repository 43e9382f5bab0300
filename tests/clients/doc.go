// Package clients proves with real client programs that a cluster speaks
// QingStor. It is a module of its own, so that nobody who builds Partstore
// inherits the dependencies of those clients.
//
// The tests need the partd program: they build it from the checkout around
// them and run "partd dev".
package clients
