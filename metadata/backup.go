package metadata

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"partstore/internal/layout"
)

// A backup is all rows of one instant in key order:
//
//	header  offset  size  field
//	        0       4     magic "PSBK"
//	        4       1     version, 1
//	        5       16    cluster
//	        21      8     applied log index, little-endian
//	        29      8     wall clock when it was made, microseconds, little-endian
//	        37      4     CRC-32C of bytes 0-36
//
//	frame   0       4     payload size, little-endian; 0 ends the backup
//	        4       4     CRC-32C of the payload; of the last frame: number of rows, modulo 2^32
//	        8       ...   rows: key size, key, value size, value (sizes are varints)
//
// A reader refuses a bad checksum, rows out of order, a missing end, a wrong
// number of rows and bytes behind the end, so a damaged or cut backup never
// becomes a state.
const (
	backupMagic      = "PSBK"
	backupVersion    = 1
	backupHeaderSize = 41
	frameHeader      = 8
	frameTarget      = 256 << 10
	frameMax         = frameTarget + maxCommandSize + 64<<10 // one row may stick out
)

// BackupInfo is what a backup says of itself.
type BackupInfo struct {
	Cluster layout.ClusterID
	Index   uint64    // the log index its rows include
	Created time.Time // wall clock of the node that made it
}

// Backup writes all rows to w, as they are at one instant between call and
// return. Writes go on meanwhile; the rows of that instant stay on disk until
// it ends. Any node may be asked. An error of w is returned as it is.
func (r *Raft) Backup(ctx context.Context, w io.Writer) error {
	bounded, cancel := r.bound(ctx)
	err := r.sync(bounded)
	cancel()
	if err != nil {
		return err
	}
	return r.view(func(rows pebble.Reader) error {
		var m meta
		if err := find(rows, metaKey(), m.code, ErrUnavailable); err != nil {
			return err
		}
		return writeBackup(&untilDone{ctx, r.ctx, w}, rows, BackupInfo{r.cfg.Cluster, m.index, time.Now()})
	})
}

// untilDone is a writer that ends with its caller, or with the registry.
type untilDone struct {
	ctx, registry context.Context //nolint:containedctx // of one call
	w             io.Writer
}

func (u *untilDone) Write(p []byte) (int, error) {
	if u.registry.Err() != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(u.registry))
	}
	if u.ctx.Err() != nil {
		return 0, u.ctx.Err()
	}
	return u.w.Write(p)
}

func writeBackup(w io.Writer, r pebble.Reader, info BackupInfo) error {
	out := bufio.NewWriterSize(w, 64<<10)
	header := append(append([]byte(backupMagic), backupVersion), info.Cluster[:]...)
	header = binary.LittleEndian.AppendUint64(header, info.Index)
	header = binary.LittleEndian.AppendUint64(header, uint64(info.Created.UnixMicro()))
	header = binary.LittleEndian.AppendUint32(header, crc32.Checksum(header, castagnoli))
	if _, err := out.Write(header); err != nil {
		return err
	}
	frame := make([]byte, frameHeader, frameTarget+frameHeader)
	rows := uint32(0)
	flush := func() error {
		binary.LittleEndian.PutUint32(frame[0:], uint32(len(frame)-frameHeader))
		binary.LittleEndian.PutUint32(frame[4:], crc32.Checksum(frame[frameHeader:], castagnoli))
		_, err := out.Write(frame)
		frame = frame[:frameHeader]
		return err
	}
	err := scan(r, nil, func(key, value []byte) error {
		rows++
		frame = append(binary.AppendUvarint(frame, uint64(len(key))), key...)
		frame = append(binary.AppendUvarint(frame, uint64(len(value))), value...)
		if len(frame) < frameTarget {
			return nil
		}
		return flush()
	})
	if err == nil && len(frame) > frameHeader {
		err = flush()
	}
	if err != nil {
		return err
	}
	end := binary.LittleEndian.AppendUint32(make([]byte, 4), rows)
	if _, err := out.Write(end); err != nil {
		return err
	}
	return out.Flush()
}

// readBackupHeader reads what comes before the rows.
func readBackupHeader(r io.Reader) (info BackupInfo, err error) {
	var h [backupHeaderSize]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return info, damagef("backup", "header: %w", unexpected(err))
	}
	const sum = backupHeaderSize - 4
	switch {
	case string(h[:4]) != backupMagic:
		return info, damagef("backup", "not one, it begins with %q", h[:4])
	case crc32.Checksum(h[:sum], castagnoli) != binary.LittleEndian.Uint32(h[sum:]):
		return info, damagef("backup", "header checksum")
	case h[4] != backupVersion:
		return info, fmt.Errorf("backup version %d; this binary reads %d", h[4], backupVersion)
	}
	copy(info.Cluster[:], h[5:])
	info.Index = binary.LittleEndian.Uint64(h[21:])
	info.Created = time.UnixMicro(int64(binary.LittleEndian.Uint64(h[29:]))).UTC()
	return info, nil
}

// unexpected makes an error of an end that comes too early.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readBackupRows passes every row after the header to visit. The slices are
// only valid during the visit.
func readBackupRows(r io.Reader, visit func(key, value []byte) error) error {
	var (
		rows   uint32
		header [frameHeader]byte
		frame  []byte
		last   []byte
	)
	ordered := func(key, value []byte) error {
		if rows++; rows > 1 && bytes.Compare(last, key) >= 0 {
			return damagef("backup", "row %q after %q", key, last)
		}
		last = append(last[:0], key...)
		return visit(key, value)
	}
	for {
		if _, err := io.ReadFull(r, header[:]); err != nil {
			return damagef("backup", "frame: %w", unexpected(err))
		}
		size, sum := binary.LittleEndian.Uint32(header[0:]), binary.LittleEndian.Uint32(header[4:])
		if size == 0 {
			if sum != rows {
				return damagef("backup", "%d rows of %d", rows, sum)
			}
			if n, err := io.ReadFull(r, header[:1]); n != 0 || !errors.Is(err, io.EOF) {
				return damagef("backup", "goes on behind its end")
			}
			return nil
		}
		if size > frameMax {
			return damagef("backup", "frame of %d bytes", size)
		}
		if uint32(cap(frame)) < size {
			frame = make([]byte, size)
		}
		frame = frame[:size]
		if _, err := io.ReadFull(r, frame); err != nil {
			return damagef("backup", "frame: %w", unexpected(err))
		}
		if crc32.Checksum(frame, castagnoli) != sum {
			return damagef("backup", "frame checksum")
		}
		if err := readFrame(frame, ordered); err != nil {
			return err
		}
	}
}

func readFrame(frame []byte, visit func(key, value []byte) error) error {
	c := &coder{buf: frame, decoding: true}
	for len(c.buf) > 0 {
		key := c.take(c.count(0, frameMax))
		value := c.take(c.count(0, frameMax))
		if c.err != nil {
			return c.err
		}
		if err := visit(key, value); err != nil {
			return err
		}
	}
	return nil
}

// loadRows fills an empty database with the rows of a backup.
func loadRows(r io.Reader, db *pebble.DB, visit func(key, value []byte) error) error {
	const batchTarget = 1 << 20
	batch := db.NewBatch()
	err := readBackupRows(r, func(key, value []byte) error {
		if err := errors.Join(visit(key, value), batch.Set(key, value, nil)); err != nil {
			return err
		}
		if batch.Len() < batchTarget {
			return nil
		}
		full := batch
		batch = db.NewBatch()
		return full.Commit(pebble.NoSync)
	})
	if err != nil {
		return errors.Join(err, batch.Close())
	}
	return batch.Commit(pebble.NoSync)
}
