package metadata

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// boltLog is the file with the log's entries. Every append is synced by bbolt.
// Before bbolt follows a page we look at it (boltFile), and after an append we
// look whether it is there; what bbolt cannot cope with, be it a panic or a
// page fault, is ErrDamaged.
type boltLog struct {
	store *raftboltdb.BoltStore
	file  *boltFile
	close func() error

	mu   sync.RWMutex // held for writing by whoever changes the file
	txid uint64       // of the newest transaction; guarded by mu
}

var _ raft.LogStore = (*boltLog)(nil)

// logsBucket is where raft-boltdb has the entries, by index, big-endian.
const logsBucket = "logs"

// errInDoubt reports a change of the log that may or may not have happened.
var errInDoubt = errors.New("outcome unknown")

// openBoltLog opens the log at path, after a look at all of it. With create, it
// makes one first if there is none.
func openBoltLog(path string, create bool) (*boltLog, error) {
	_, err := os.Stat(path)
	switch {
	case err == nil:
		err = checkBoltFile(path)
	case errors.Is(err, os.ErrNotExist) && create:
		err = createBoltLog(path)
	case errors.Is(err, os.ErrNotExist):
		err = damaged("log", err)
	}
	if err != nil {
		return nil, err
	}
	l := &boltLog{}
	if l.store, err = openBolt(path); err != nil {
		return nil, err
	}
	file, f, err := openBoltFile(path)
	if err != nil {
		return nil, errors.Join(err, l.store.Close())
	}
	l.file = file
	l.close = func() error { return errors.Join(guarded("log", l.store.Close), f.Close()) }
	m, err := file.meta()
	if err != nil {
		return nil, errors.Join(err, l.close())
	}
	l.txid = m.txid
	return l, nil
}

// createBoltLog makes an empty log, durably: under another name first, so that
// it is there as a whole or not at all.
func createBoltLog(path string) error {
	if err := os.RemoveAll(path + newSuffix); err != nil {
		return err
	}
	store, err := openBolt(path + newSuffix)
	if err == nil {
		err = store.Close()
	}
	if err == nil {
		err = os.Rename(path+newSuffix, path)
	}
	if err != nil {
		return err
	}
	return syncDir(vfs.Default, filepath.Dir(path))
}

func openBolt(path string) (store *raftboltdb.BoltStore, err error) {
	err = guarded("log", func() error {
		store, err = raftboltdb.New(raftboltdb.Options{
			Path: path,
			BoltOptions: &bbolt.Options{
				// Without these two, shortening a long log stalls appends for
				// most of a second.
				NoFreelistSync: true,
				FreelistType:   bbolt.FreelistMapType,
				PageSize:       logPageSize,
				Timeout:        time.Second, // another process has the directory open
			},
		})
		return err
	})
	return store, err
}

func checkBoltFile(path string) error {
	file, f, err := openBoltFile(path)
	if err != nil {
		return err
	}
	m, err := file.meta()
	if err == nil {
		err = file.checkTree(m)
	}
	return errors.Join(err, f.Close())
}

// current returns the newest meta, which must be that of our last transaction.
func (l *boltLog) current() (boltMeta, error) {
	m, err := l.file.meta()
	if err == nil && m.txid != l.txid {
		err = damagef("log", "newest transaction is %d, was %d", m.txid, l.txid)
	}
	return m, err
}

// change makes one transaction, after look has found that bbolt can.
func (l *boltLog) change(look func(boltMeta) error, make func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	m, err := l.current()
	if err == nil {
		err = look(m)
	}
	if err != nil {
		return err
	}
	made := guarded("log", make)
	if m, err = l.file.meta(); err != nil {
		return errors.Join(made, err)
	}
	switch {
	case made == nil && m.txid == l.txid+1:
		l.txid++
		return nil
	case made == nil:
		return damagef("log", "transaction %d is not there", l.txid+1)
	case m.txid != l.txid:
		return fmt.Errorf("%w: %w", errInDoubt, made)
	}
	return made
}

// StoreLog implements raft.LogStore.
func (l *boltLog) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore. Unless the error is errInDoubt or
// ErrDamaged, nothing was stored.
func (l *boltLog) StoreLogs(entries []*raft.Log) error {
	return l.change(func(m boltMeta) error {
		return l.file.checkPath(m, logsBucket, indexKey(math.MaxUint64))
	}, func() error { return l.store.StoreLogs(entries) })
}

// DeleteRange implements raft.LogStore.
func (l *boltLog) DeleteRange(first, last uint64) error {
	return l.change(l.file.checkTree, func() error { return l.store.DeleteRange(first, last) })
}

// GetLog implements raft.LogStore. The entry is as it lies in the file.
func (l *boltLog) GetLog(index uint64, entry *raft.Log) error {
	look := func() error {
		m, err := l.file.meta()
		if err != nil {
			return err
		}
		return l.file.checkPath(m, logsBucket, indexKey(index))
	}
	// An append of the same moment may have reused a page we looked at; only
	// what is wrong while nobody writes is damage.
	if err := look(); err != nil {
		l.mu.RLock()
		err = look()
		l.mu.RUnlock()
		if err != nil {
			return err
		}
	}
	var fresh raft.Log // the decoder leaves alone what the bytes do not name
	err := guarded("log", func() error { return l.store.GetLog(index, &fresh) })
	switch {
	case err == nil:
		*entry = fresh
		return nil
	case errors.Is(err, raft.ErrLogNotFound), errors.Is(err, bolterrors.ErrDatabaseNotOpen):
		return err
	}
	return damaged("log", err)
}

// FirstIndex implements raft.LogStore.
func (l *boltLog) FirstIndex() (index uint64, err error) {
	err = guarded("log", func() error { index, err = l.store.FirstIndex(); return err })
	return index, err
}

// LastIndex implements raft.LogStore.
func (l *boltLog) LastIndex() (index uint64, err error) {
	err = guarded("log", func() error { index, err = l.store.LastIndex(); return err })
	return index, err
}

// Close releases the file.
func (l *boltLog) Close() error { return l.close() }

func indexKey(index uint64) []byte { return binary.BigEndian.AppendUint64(nil, index) }
