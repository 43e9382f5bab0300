package metadata

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
)

// benchLog is a log of n entries of 300 bytes, and its directory.
func benchLog(b *testing.B, n int) (string, owner, *openedFiles) {
	b.Helper()
	dir, who := newDir(b)
	o, err := openDir(dir, who)
	if err != nil {
		b.Fatal(err)
	}
	for first := 1; first <= n; first += 500 {
		var batch []*raft.Log
		for i := first; i < first+500; i++ {
			batch = append(batch, benchEntry(uint64(i)))
		}
		if err := errors.Join(o.log.StoreLogs(batch), o.vote.SetUint64([]byte(keyTerm), 1)); err != nil {
			b.Fatal(err)
		}
	}
	return dir, who, o
}

func benchEntry(index uint64) *raft.Log {
	return &raft.Log{Index: index, Term: 1, Type: raft.LogCommand, Data: encodePack(pack{commands: [][]byte{make([]byte, 290)}})}
}

// What an append costs with bbolt alone, and with envelope, witness and a look
// at the pages.
func BenchmarkAppend(b *testing.B) {
	b.Run("bbolt", func(b *testing.B) {
		store, err := openBolt(filepath.Join(b.TempDir(), logName))
		if err != nil {
			b.Fatal(err)
		}
		defer store.Close()
		for i := uint64(1); b.Loop(); i++ {
			if err := store.StoreLog(benchEntry(i)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("checked", func(b *testing.B) {
		_, _, o := benchLog(b, 0)
		defer o.close()
		for i := uint64(1); b.Loop(); i++ {
			if err := o.log.StoreLog(benchEntry(i)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// What a look at the path of an append costs alone, in a log of 20,000 entries.
func BenchmarkLook(b *testing.B) {
	_, _, o := benchLog(b, 20000)
	defer o.close()
	l := o.files.log.(*boltLog)
	for b.Loop() {
		m, err := l.current()
		if err == nil {
			err = l.file.checkPath(m, logsBucket, indexKey(1<<40))
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// What opening a log of 20,000 entries costs, all of it read.
func BenchmarkOpenLog(b *testing.B) {
	dir, who, o := benchLog(b, 20000)
	if err := o.close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		o, err := openDir(dir, who)
		if err != nil {
			b.Fatal(err)
		}
		if err := o.close(); err != nil {
			b.Fatal(err)
		}
	}
}
