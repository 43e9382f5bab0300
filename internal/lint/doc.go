// Package lint holds, as ordinary tests, the rules of this repository that the
// compiler does not know: which package may import which, which third-party
// module belongs to whom, that every package says what it keeps true, that the documents name every
// metric and link to what exists, and that
// the vocabulary of docs/glossary.md is kept.
//
// The tests read the files themselves. A test that asked "go list" would be
// answered from the test cache after a forbidden import was added.
package lint
