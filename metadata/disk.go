package metadata

import (
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

// disk is where a registry keeps its files: real ones, unless a test wants a
// disk that forgets what was not synced. bbolt maps its file into memory and
// needs a real one, so the log is opened by a function of its own.
type disk struct {
	fs vfs.FS
	// openLog opens the log at path. With create, it makes one, durably, if
	// there is none; without, its absence is ErrDamaged.
	openLog func(path string, create bool) (logFile, error)
}

// logFile is what keeps the log's entries.
type logFile interface {
	raft.LogStore
	io.Closer
}

func realDisk() *disk {
	return &disk{
		fs: vfs.Default,
		openLog: func(path string, create bool) (logFile, error) {
			l, err := openBoltLog(path, create)
			if err != nil {
				return nil, err // and not a logFile that is no log
			}
			return l, nil
		},
	}
}
