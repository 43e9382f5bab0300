//go:build unix && !linux

package vfs

import (
	"errors"
	"fmt"
	"os"
)

// Create implements FS. There are no direct writes here.
func (OS) Create(name string, _ Mode) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &osFile{File: f}, nil
}

// WriteBuffers implements File.
func (f *osFile) WriteBuffers(buffers [][]byte, off int64) error {
	for _, b := range buffers {
		n, err := f.WriteAt(b, off)
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

// Allocate implements File.
func (f *osFile) Allocate(_, _ int64) error {
	return fmt.Errorf("allocate %s: %w", f.Name(), errors.ErrUnsupported)
}

// Punch implements File.
func (f *osFile) Punch(_, _ int64) error {
	return fmt.Errorf("punch %s: %w", f.Name(), errors.ErrUnsupported)
}
