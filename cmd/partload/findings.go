package main

import (
	"fmt"
	"slices"
	"sync"
)

// Kinds of findings. Each one is a broken promise of the cluster.
const (
	kindWrongBytes = "wrong_bytes"
	kindLostPart   = "lost_part"
	kindFalse404   = "false_404"
	kindFalseHit   = "false_hit"
)

var kinds = []string{kindWrongBytes, kindLostPart, kindFalse404, kindFalseHit}

// breach is the error of an answer that breaks a promise.
type breach struct {
	kind, detail string
	requestID    string
}

func (b *breach) Error() string { return b.kind + ": " + b.detail }

// finding is one broken promise, with what it takes to look into it.
type finding struct {
	Kind      string `json:"kind"`
	Operation string `json:"operation"`
	Endpoint  string `json:"endpoint"`
	RequestID string `json:"request_id,omitempty"`
	Key       string `json:"key"`
	UploadID  string `json:"upload_id,omitempty"`
	Detail    string `json:"detail"`
}

func (f finding) String() string {
	return fmt.Sprintf("%s in %s of %s upload %q at %s, request %s: %s",
		f.Kind, f.Operation, f.Key, f.UploadID, f.Endpoint, f.RequestID, f.Detail)
}

// maxFindings bounds how many findings are kept in full; all are counted.
const maxFindings = 100

// findings collects the broken promises of a run.
type findings struct {
	mu     sync.Mutex
	counts map[string]int64
	list   []finding
}

func (f *findings) add(one finding) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts[one.Kind]++
	if len(f.list) < maxFindings {
		f.list = append(f.list, one)
	}
}

// snapshot returns the counts by kind, the first findings, and their number.
func (f *findings) snapshot() (counts map[string]int64, list []finding, total int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	counts = make(map[string]int64)
	for _, k := range kinds {
		counts[k] = f.counts[k]
		total += f.counts[k]
	}
	return counts, slices.Clone(f.list), total
}
