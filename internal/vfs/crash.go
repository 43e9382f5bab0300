package vfs

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
)

// sectorSize is what a drive writes whole or not at all, in bytes.
const sectorSize = 512

// Crash returns the file system as it would be found after power loss now, had
// the drive kept nothing but what was synced. The Mem itself goes on unchanged.
func (m *Mem) Crash() *Mem { return m.crash(nil) }

// CrashKeeping is Crash for a drive that also kept some of the rest: every
// change of a name and every sector written since the last sync is kept or
// lost on its own, as rng decides.
func (m *Mem) CrashKeeping(rng *rand.Rand) *Mem { return m.crash(rng) }

func (m *Mem) crash(rng *rand.Rand) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	after := NewMem()
	c := crasher{rng: rng, done: map[*memNode]*memNode{}}
	after.root = c.node(m.root)
	return after
}

// crasher copies a tree as a crash leaves it. A file with two surviving names
// stays one file.
type crasher struct {
	rng  *rand.Rand // nil: keep nothing unsynced
	done map[*memNode]*memNode
}

func (c *crasher) keep() bool { return c.rng != nil && c.rng.IntN(2) == 0 }

func (c *crasher) node(n *memNode) *memNode {
	if after := c.done[n]; after != nil {
		return after
	}
	if !n.isDir() {
		data := c.data(n)
		after := &memNode{data: data, syncedData: bytes.Clone(data)}
		c.done[n] = after
		return after
	}
	after := newMemDir()
	c.done[n] = after
	names := map[string]bool{}
	for name := range n.names {
		names[name] = true
	}
	for name := range n.syncedNames {
		names[name] = true
	}
	// In order of name, so that one seed always means one outcome.
	for _, name := range slices.Sorted(maps.Keys(names)) {
		child := n.syncedNames[name]
		if child != n.names[name] && c.keep() {
			child = n.names[name]
		}
		if child != nil {
			after.names[name] = c.node(child)
		}
	}
	after.syncedNames = maps.Clone(after.names)
	return after
}

func (c *crasher) data(n *memNode) []byte {
	data := bytes.Clone(n.syncedData)
	if c.rng == nil || bytes.Equal(n.data, n.syncedData) {
		return data
	}
	// The length is the old one, the new one, or that of a write cut short.
	size := len(n.syncedData)
	switch c.rng.IntN(3) {
	case 0:
		size = len(n.data)
	case 1:
		if low, high := min(size, len(n.data)), max(size, len(n.data)); high > low {
			size = low + c.rng.IntN(high-low)
		}
	}
	data = append(data, make([]byte, max(0, size-len(data)))...)[:size]
	for at := 0; at < min(size, len(n.data)); at += sectorSize {
		if c.keep() {
			end := min(at+sectorSize, size, len(n.data))
			copy(data[at:end], n.data[at:end])
		}
	}
	return data
}
