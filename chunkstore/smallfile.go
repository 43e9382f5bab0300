package chunkstore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"partstore/internal/vfs"
)

const tempSuffix = ".tmp"

// readSmall reads a file of at most limit bytes; a longer one comes back one
// byte too long, for its parser to refuse.
func readSmall(fsys vfs.FS, name string, limit int) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, limit+1)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b[:n], nil
}

// writeSmall makes a durable file, whole or not at all: write a temporary
// file, sync it, rename it, sync the directory.
func writeSmall(fsys vfs.FS, dir, name string, content []byte) error {
	temp := path.Join(dir, name+tempSuffix)
	if err := fsys.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := fsys.Create(temp, vfs.Buffered)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := fsys.Rename(temp, path.Join(dir, name)); err != nil {
		return err
	}
	return fsys.SyncDir(dir)
}
