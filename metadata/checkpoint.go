package metadata

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"slices"

	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// checkpoint makes the snapshot one of the rows of g: at least those it has
// now. Rows in memory go to disk first, for Raft shortens its log afterwards.
// Writes go on meanwhile.
func (s *snapshotSink) checkpoint(ctx context.Context, g *generation) error {
	s.patience.Stop()
	flushed, err := g.db.AsyncFlush()
	if err != nil {
		return err
	}
	select {
	case <-flushed:
	case <-ctx.Done(): // on a full disk that may be never
		return context.Cause(ctx)
	}
	if err := g.db.Checkpoint(s.rows()); err != nil {
		return err
	}
	files, err := g.sumFiles(s.rows())
	if err != nil {
		return err
	}
	s.snapshot.manifest.files, s.snapshot.manifest.rows, s.complete = files, g.number, true
	return nil
}

// sumFiles returns the files of a checkpoint of g with their checksums. A table
// that an earlier checkpoint had too is not read again: Pebble never changes
// one, and uses no number twice. What has become of it since then is for the
// old sum to tell, so a new one would be worse.
func (g *generation) sumFiles(dir string) (files []fileSum, err error) {
	names, err := g.fs.List(dir)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	for _, name := range names {
		f, known := g.sums[name]
		if !known {
			if f, err = sumFile(g.fs, dir, name); err != nil {
				return nil, err
			}
		}
		files = append(files, f)
	}
	g.sums = (&manifest{files: files}).tables()
	return files, nil
}

// sumFile reads a file that has no sum yet. A table is checked by what Pebble
// wrote into it: our sum must not vouch for damage.
func sumFile(fs vfs.FS, dir, name string) (sum fileSum, err error) {
	path := filepath.Join(dir, name)
	if filepath.Ext(name) == ".sst" {
		if err := checkTable(fs, path); err != nil {
			return sum, fmt.Errorf("%w: table %s: %w", ErrDamaged, name, err)
		}
	}
	f, err := fs.Open(path, vfs.SequentialReadsOption)
	if err != nil {
		return sum, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := crc32.New(castagnoli)
	size, err := io.CopyBuffer(onlyWriter{h}, onlyReader{f}, make([]byte, snapshotFrame))
	return fileSum{name: name, size: size, sum: h.Sum32()}, err
}

// checkTable verifies the checksum of every block of a table.
func checkTable(fs vfs.FS, path string) (err error) {
	f, err := fs.Open(path, vfs.SequentialReadsOption)
	if err != nil {
		return err
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	options := pebbleOptions(fs)
	options.EnsureDefaults()
	r, err := sstable.NewReader(context.Background(), readable, options.MakeReaderOptions())
	if err != nil {
		return errors.Join(err, readable.Close())
	}
	return errors.Join(r.ValidateBlockChecksums(), r.Close())
}
