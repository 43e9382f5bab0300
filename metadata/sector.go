package metadata

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A sector is a small record that is overwritten in place: 512 bytes, which a
// drive writes whole or not at all, the last four being the CRC-32C of the
// others. Its file never grows, so it can be written when the disk is full.
const (
	sectorSize    = 512
	sectorPayload = sectorSize - 4
)

// sectorFile is a sector in a file of its own; what it holds is for errors.
type sectorFile struct {
	f    vfs.File
	what string
}

// createSector makes the file of a sector, durably: under another name first,
// so that it is there as a whole or not at all.
func createSector(fs vfs.FS, path string, payload []byte) error {
	f, err := fs.Create(path+newSuffix, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(sealSector(payload))
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fs.Rename(path+newSuffix, path); err != nil {
		return err
	}
	return syncDir(fs, filepath.Dir(path))
}

// newSuffix marks a file that is still being made.
const newSuffix = ".new"

func openSector(fs vfs.FS, path, what string) (*sectorFile, error) {
	if _, err := fs.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil, damaged(what, err)
	}
	f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	return &sectorFile{f, what}, nil
}

// read returns the payload. Anything but what was written is ErrDamaged.
func (s *sectorFile) read() ([]byte, error) {
	b := make([]byte, sectorSize+1)
	n, err := s.f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read %s: %w", s.what, err)
	}
	b, err = unsealSector(b[:n])
	if err != nil {
		return nil, damaged(s.what, err)
	}
	return b, nil
}

// write replaces the payload. With sync, it returns once that would survive
// power loss.
func (s *sectorFile) write(b []byte, sync bool) error {
	if _, err := s.f.WriteAt(sealSector(b), 0); err != nil {
		return fmt.Errorf("write %s: %w", s.what, err)
	}
	if !sync {
		return nil
	}
	if err := s.f.SyncData(); err != nil {
		return fmt.Errorf("sync %s: %w", s.what, err)
	}
	return nil
}

func (s *sectorFile) Close() error { return s.f.Close() }

func sealSector(payload []byte) []byte {
	b := make([]byte, sectorSize)
	copy(b[:sectorPayload], payload)
	binary.LittleEndian.PutUint32(b[sectorPayload:], crc32.Checksum(b[:sectorPayload], castagnoli))
	return b
}

func unsealSector(b []byte) ([]byte, error) {
	if len(b) != sectorSize {
		return nil, fmt.Errorf("%w: sector of %d bytes", errMalformed, len(b))
	}
	if crc32.Checksum(b[:sectorPayload], castagnoli) != binary.LittleEndian.Uint32(b[sectorPayload:]) {
		return nil, fmt.Errorf("%w: sector checksum", errMalformed)
	}
	return b[:sectorPayload], nil
}
