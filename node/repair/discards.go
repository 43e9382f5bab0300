package repair

import (
	"partstore/internal/layout"
	"partstore/metadata"
)

// Discards are the uploads whose chunks are garbage, and so not to be healed, but
// for the parts that an object names. They only save work: a record that is gone
// cannot be made to name anything.
type Discards map[layout.UploadID]metadata.PartSet

// Has reports whether the chunks of a part are garbage.
func (d Discards) Has(p metadata.OwnedPart) bool {
	kept, found := d[p.Upload]
	return found && !kept.Has(p.Number)
}

// ReadDiscards reads them from the garbage queue, which list lists.
func ReadDiscards(list func(after *metadata.Garbage, limit int) ([]metadata.Garbage, error)) (Discards, error) {
	uploads := Discards{}
	for last := (*metadata.Garbage)(nil); ; {
		page, err := list(last, pageEntries)
		if err != nil || len(page) == 0 {
			return uploads, err
		}
		for _, g := range page {
			if g.Part == nil {
				uploads[g.Upload] = g.Kept
			}
		}
		last = &page[len(page)-1]
	}
}
