package metadata

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

// snapshotSink is a snapshot in the making: of this node's rows, by checkpoint,
// or of the leader's, by Write. Nothing of it counts before Close has returned
// nil: files, manifest, name, each synced before the next.
type snapshotSink struct {
	store    *snapshotStore
	snapshot *storedSnapshot
	in       *receiver   // set by the first Write
	patience *time.Timer // for the next Write
	complete bool
	ended    bool
}

var _ raft.SnapshotSink = (*snapshotSink)(nil)

// ID implements raft.SnapshotSink.
func (s *snapshotSink) ID() string { return s.snapshot.id() }

func (s *snapshotSink) dir() string  { return s.store.partial(s.snapshot.number) }
func (s *snapshotSink) rows() string { return filepath.Join(s.dir(), rowsDir) }

// Write implements io.Writer: it takes the stream of another node's snapshot.
func (s *snapshotSink) Write(p []byte) (int, error) {
	if s.in == nil {
		if err := s.store.fs.MkdirAll(s.rows(), 0o700); err != nil {
			return 0, err
		}
		s.in = newReceiver(s.store.fs, s.rows())
	}
	s.patience.Reset(raftCallTimeout)
	n, err := s.in.Write(p)
	if err == nil && s.in.done() {
		s.patience.Stop()
		err = s.accept(s.in.manifest)
	}
	return n, err
}

// accept checks that the stream is of the snapshot that was announced: Raft's
// own message about it has no checksum.
func (s *snapshotSink) accept(got manifest) error {
	want := &s.snapshot.manifest
	if got.index != want.index || got.term != want.term ||
		got.configurationIndex != want.configurationIndex || !bytes.Equal(got.configuration, want.configuration) {
		return fmt.Errorf("%w: snapshot of entry %d, term %d in place of %d, %d", ErrDamaged, got.index, got.term, want.index, want.term)
	}
	if err := syncDir(s.store.fs, s.rows()); err != nil {
		return err
	}
	want.files, s.complete = got.files, true
	return nil
}

// Close implements raft.SnapshotSink.
func (s *snapshotSink) Close() error {
	if s.ended {
		return nil
	}
	s.patience.Stop()
	s.ended = true
	if !s.complete {
		return errors.Join(fmt.Errorf("%w: snapshot is not complete", ErrDamaged), s.discard())
	}
	if err := s.store.commit(s.snapshot); err != nil {
		return errors.Join(err, s.discard())
	}
	if s.in != nil {
		s.store.log.Info("snapshot received", "index", s.snapshot.index)
	}
	return nil
}

// Cancel implements raft.SnapshotSink.
func (s *snapshotSink) Cancel() error {
	if s.ended {
		return nil
	}
	s.patience.Stop()
	s.ended = true
	return s.discard()
}

func (s *snapshotSink) discard() error {
	var open error
	if s.in != nil {
		open = s.in.close()
	}
	return errors.Join(open, s.store.fs.RemoveAll(s.dir()))
}

// A receiver makes files of a snapshot's stream. It collects one piece at a
// time, manifest or frame, so its memory is bounded by the larger of them.
type receiver struct {
	fs       vfs.FS
	dir      string
	manifest manifest

	piece []byte
	want  int // size of the next piece; 0 at the end of the stream
	take  func(piece []byte) error

	next int      // the file after the open one
	file vfs.File // nil: none open
	left int64    // bytes of the open file that have not come
	sum  uint32   // CRC-32C of those that have
	err  error
}

func newReceiver(fs vfs.FS, dir string) *receiver {
	r := &receiver{fs: fs, dir: dir}
	r.want, r.take = manifestHeader, r.takeHeader
	return r
}

func (r *receiver) done() bool { return r.err == nil && r.want == 0 }

func (r *receiver) Write(p []byte) (n int, err error) {
	for len(p) > 0 && r.err == nil {
		if r.want == 0 {
			r.err = fmt.Errorf("%w: more than the whole snapshot", ErrDamaged)
			break
		}
		size := min(len(p), r.want-len(r.piece))
		r.piece = append(r.piece, p[:size]...)
		p, n = p[size:], n+size
		if len(r.piece) == r.want {
			r.err = r.take(r.piece)
			r.piece = r.piece[:0]
		}
	}
	return n, r.err
}

func (r *receiver) takeHeader(b []byte) error {
	size, err := manifestBody(b)
	header := bytes.Clone(b)
	r.want, r.take = size, func(body []byte) error { return r.takeManifest(append(header, body...)) }
	return err
}

func (r *receiver) takeManifest(b []byte) (err error) {
	if r.manifest, err = parseManifest(b); err != nil {
		return err
	}
	r.take = r.takeFrame
	return r.nextFile()
}

// nextFile opens the next file that has any bytes to come.
func (r *receiver) nextFile() error {
	for r.next < len(r.manifest.files) {
		f := r.manifest.files[r.next]
		r.next++
		file, err := r.fs.Create(filepath.Join(r.dir, f.name), vfs.WriteCategoryUnspecified)
		if err != nil {
			return err
		}
		r.file, r.left, r.sum = vfs.NewSyncingFile(file, vfs.SyncingFileOptions{BytesPerSync: 1 << 20}), f.size, 0
		if f.size > 0 {
			r.want = int(min(f.size, snapshotFrame)) + checksumSize
			return nil
		}
		if err := r.finishFile(f); err != nil {
			return err
		}
	}
	r.want = 0
	return nil
}

func (r *receiver) takeFrame(b []byte) error {
	data, sum := b[:len(b)-checksumSize], binary.LittleEndian.Uint32(b[len(b)-checksumSize:])
	f := r.manifest.files[r.next-1]
	if r.sum = crc32.Update(r.sum, castagnoli, data); r.sum != sum {
		return fmt.Errorf("%w: frame checksum in %s", ErrDamaged, f.name)
	}
	if _, err := r.file.Write(data); err != nil {
		return err
	}
	if r.left -= int64(len(data)); r.left > 0 {
		r.want = int(min(r.left, snapshotFrame)) + checksumSize
		return nil
	}
	if err := r.finishFile(f); err != nil {
		return err
	}
	return r.nextFile()
}

func (r *receiver) finishFile(f fileSum) error {
	if r.sum != f.sum {
		return fmt.Errorf("%w: checksum of %s", ErrDamaged, f.name)
	}
	if err := r.file.Sync(); err != nil {
		return err
	}
	return r.close()
}

func (r *receiver) close() error {
	if r.file == nil {
		return nil
	}
	defer func() { r.file = nil }()
	return r.file.Close()
}
