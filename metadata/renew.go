package metadata

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrDiskFault reports that the disk did not do as it was told. Unlike damage
// it may pass: once Renew has succeeded, the copy can be opened again.
var ErrDiskFault = errors.New("disk fault")

// Renew makes a copy fit to be opened again whose registry went out of service
// with ErrDiskFault, and was closed. Nothing in dir may be used meanwhile.
//
// After a failed sync nobody knows what is on the disk: the page cache may show
// an entry, or a vote, that the disk never got, and the next sync would say that
// all is well. Whoever trusted what it reads would acknowledge what a power loss
// takes. So the files that promise something are written anew from what can be read of
// them; what was acknowledged was synced without an error before, and if anything of that
// is missing, Open says that it is damaged. Rows and snapshots promise nothing, and Pebble
// writes its manifest anew at each open; they are read, to see whether that is possible.
//
// An error that wraps ErrDamaged means that the disk takes writes and a file
// cannot be read. With any other error, try again later.
func Renew(dir string) error {
	if err := renew(vfs.Default, dir); err != nil {
		return fmt.Errorf("renew registry: %w", err)
	}
	return nil
}

func renew(fs vfs.FS, dir string) error {
	if err := tryWrite(fs, filepath.Join(dir, "probe"+newSuffix)); err != nil {
		return err
	}
	promises := []string{logName, witnessName, voteName}
	for _, name := range promises {
		path := filepath.Join(dir, name)
		if err := copySynced(fs, path, path+newSuffix); err != nil {
			return errors.Join(err, fs.RemoveAll(path+newSuffix))
		}
	}
	if err := tryRead(fs, dir); err != nil {
		return err
	}
	for _, name := range promises {
		path := filepath.Join(dir, name)
		if err := fs.Rename(path+newSuffix, path); err != nil {
			return err
		}
	}
	return syncDir(fs, dir)
}

func tryWrite(fs vfs.FS, path string) error {
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, sectorSize))
	return errors.Join(err, f.Sync(), f.Close(), fs.Remove(path))
}

func copySynced(fs vfs.FS, from, to string) error {
	w, err := fs.Create(to, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	err = readWhole(fs, from, w)
	return errors.Join(err, w.Sync(), w.Close())
}

// tryRead reads every file below dir.
func tryRead(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	if err != nil {
		return damaged(dir, err)
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		info, err := fs.Stat(path)
		if err == nil && info.IsDir() {
			err = tryRead(fs, path)
		} else if err == nil {
			err = readWhole(fs, path, io.Discard)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readWhole copies a file. If it cannot be read, that is damage; what w says is
// not.
func readWhole(fs vfs.FS, path string, w io.Writer) error {
	f, err := fs.Open(path, vfs.SequentialReadsOption)
	if err != nil {
		return damaged(path, err)
	}
	defer f.Close()
	buf := make([]byte, 1<<20)
	for {
		n, err := f.Read(buf)
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return damaged(path, err)
		}
	}
}

// diskFault makes an ErrDiskFault of an error of the disk that is no damage.
func diskFault(err error) error {
	var errno syscall.Errno
	if !errors.As(err, &errno) || errors.Is(err, ErrDamaged) || errors.Is(err, ErrDiskFault) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrDiskFault, err)
}

// openFault is diskFault where files are looked for and opened: there, most
// errors mean that an operator is needed.
func openFault(err error) error {
	if isFault(err) {
		return diskFault(err)
	}
	return err
}

// isFault reports an error that says that a disk, or the way to it, is broken.
func isFault(err error) bool {
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.EROFS, syscall.ENODEV, syscall.ENXIO} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
