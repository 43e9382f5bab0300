package chunkstore

import (
	"slices"

	"partstore/internal/layout"
)

// entry is what the store keeps in memory of a chunk.
type entry struct {
	header
	at place // where the record begins
}

// pageEntries bounds a page of the index.
const pageEntries = 512

// packed is an entry as the index keeps it, in 48 bytes and without pointers.
type packed struct {
	id        layout.ChunkID
	labelSize uint16
	pieces    uint16
	at        place
	size      int64
	sequence  uint64
}

func pack(e entry) packed {
	return packed{e.id, uint16(e.labelSize), uint16(e.pieces), e.at, e.size, e.sequence}
}

func (p *packed) entry() entry {
	return entry{header{p.id, int(p.labelSize), int(p.pieces), p.size, p.sequence}, p.at}
}

// index knows the committed chunks in the order of their IDs: sorted pages,
// themselves in order. IDs of one node ascend, so that insertions go to the end
// of a page nearly always, and pages are full.
type index struct {
	pages  [][]packed
	count  int
	tables map[uint64][]place // pieces of the chunks that have any, by sequence
}

// search returns the page and the position in it where id is or belongs.
func (x *index) search(id layout.ChunkID) (page, i int, found bool) {
	page, exact := slices.BinarySearchFunc(x.pages, id, func(p []packed, id layout.ChunkID) int { return p[0].id.Compare(id) })
	if exact {
		return page, 0, true
	}
	if page == 0 {
		return 0, 0, false
	}
	page--
	i, found = slices.BinarySearchFunc(x.pages[page], id, func(p packed, id layout.ChunkID) int { return p.id.Compare(id) })
	return page, i, found
}

func (x *index) find(id layout.ChunkID) (entry, bool) {
	page, i, found := x.search(id)
	if !found {
		return entry{}, false
	}
	return x.pages[page][i].entry(), true
}

// table returns the places of a chunk's pieces.
func (x *index) table(e entry) []place { return x.tables[e.sequence] }

// put adds a chunk or replaces the one with its ID.
func (x *index) put(e entry, table []place) {
	if len(table) > 0 {
		if x.tables == nil {
			x.tables = map[uint64][]place{}
		}
		x.tables[e.sequence] = table
	}
	page, i, found := x.search(e.id)
	if found {
		if old := &x.pages[page][i]; old.sequence != e.sequence {
			delete(x.tables, old.sequence)
		}
		x.pages[page][i] = pack(e)
		return
	}
	x.count++
	switch {
	case len(x.pages) == 0:
		x.pages = append(x.pages, []packed{pack(e)})
		return
	case len(x.pages[page]) < pageEntries:
	case i == pageEntries:
		x.pages = slices.Insert(x.pages, page+1, []packed{pack(e)})
		return
	default:
		half := slices.Clone(x.pages[page][pageEntries/2:])
		x.pages[page] = x.pages[page][:pageEntries/2]
		x.pages = slices.Insert(x.pages, page+1, half)
		if i > pageEntries/2 {
			page, i = page+1, i-pageEntries/2
		}
	}
	x.pages[page] = slices.Insert(x.pages[page], i, pack(e))
}

func (x *index) remove(id layout.ChunkID) {
	page, i, found := x.search(id)
	if !found {
		return
	}
	x.count--
	delete(x.tables, x.pages[page][i].sequence)
	x.pages[page] = slices.Delete(x.pages[page], i, i+1)
	if len(x.pages[page]) == 0 {
		x.pages = slices.Delete(x.pages, page, page+1)
	}
}

// after returns up to limit entries with IDs after the given one, in order.
func (x *index) after(id layout.ChunkID, limit int) []entry {
	if limit <= 0 || len(x.pages) == 0 {
		return nil
	}
	page, i, found := x.search(id)
	if found {
		i++
	}
	entries := make([]entry, 0, min(limit, x.count))
	for ; page < len(x.pages) && len(entries) < limit; page, i = page+1, 0 {
		for ; i < len(x.pages[page]) && len(entries) < limit; i++ {
			entries = append(entries, x.pages[page][i].entry())
		}
	}
	return entries
}

// all calls f with every chunk, in no particular order of places.
func (x *index) all(f func(e entry, table []place)) {
	for _, page := range x.pages {
		for i := range page {
			e := page[i].entry()
			f(e, x.tables[e.sequence])
		}
	}
}

// buildIndex makes an index of chunks that are in order.
func buildIndex(found []foundChunk) index {
	x := index{count: len(found), tables: map[uint64][]place{}}
	for some := range slices.Chunk(found, pageEntries) {
		page := make([]packed, len(some))
		for i, c := range some {
			page[i] = pack(c.entry)
			if len(c.table) > 0 {
				x.tables[c.sequence] = c.table
			}
		}
		x.pages = append(x.pages, page)
	}
	return x
}
