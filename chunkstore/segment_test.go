package chunkstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"partstore/internal/layout"
	"partstore/internal/vfs"
)

var (
	goldenStore   = layout.StoreID{1, 2, 3}
	goldenCluster = layout.ClusterID{4, 5, 6}
	goldenID      = layout.ChunkID{Attempt: layout.NewAttemptID(3, 0x123456789abc, 77), Index: 5}
)

// goldenSegment is a sealed segment with one chunk, byte by byte.
func goldenSegment() []byte {
	s := segmentHeader{number: 1, salt: fuzzSalt, store: goldenStore}
	b := make([]byte, unitSize)
	copy(b, s.encode())
	copy(b[unitSize-headerSize:], s.encode())
	h := header{id: goldenID, labelSize: len("golden label"), size: int64(len("golden payload")), sequence: 9}
	record := NewSeal(h.id).AppendFrame(nil, 0, []byte("golden payload"))
	record = append(record, make([]byte, int64(h.units())*unitSize-h.tail()-int64(len(record)))...)
	record = appendTail(record, NewSeal(h.id), nil, []byte("golden label"))
	h.encode(record[len(record)-headerSize:], s.salt, 1)
	b = append(b, record...)
	return append(b, encodeFooter([]foundChunk{{entry: entry{h, place{1, 1}}}}, s, 2)...)
}

// TestSegmentFormat makes sure that the format stays, and that a segment once
// written is read for ever: with its footer, and without.
func TestSegmentFormat(t *testing.T) {
	file := filepath.Join("testdata", "segment.golden")
	got := dump(goldenSegment())
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%s", file, got)
	}
	segment := undump(t, string(want))
	for name, content := range map[string][]byte{"sealed": segment, "without its footer": segment[:2*unitSize]} {
		t.Run(name, func(t *testing.T) {
			fsys := vfs.NewMem()
			if err := vfs.MkdirAll(fsys, "/store/segments"); err != nil {
				t.Fatal(err)
			}
			if err := writeSmall(fsys, "/store/segments", segmentName(1), content); err != nil {
				t.Fatal(err)
			}
			id := identity{store: goldenStore, cluster: goldenCluster}
			if err := writeSmall(fsys, "/store", identityName, id.encode()); err != nil {
				t.Fatal(err)
			}
			d, err := OpenDisk(DiskConfig{FS: fsys, Dir: "/store", ID: goldenStore, Cluster: goldenCluster})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			info, err := d.Stat(t.Context(), goldenID)
			if err != nil || string(info.Label) != "golden label" || info.Size != int64(len("golden payload")) {
				t.Errorf("Stat = %+v, %v", info, err)
			}
			if got, err := readAll(t.Context(), d, goldenID); err != nil || string(got) != "golden payload" {
				t.Errorf("Read = %q, %v", got, err)
			}
		})
	}
}

func readAll(ctx context.Context, s Store, id layout.ChunkID) ([]byte, error) {
	r, err := s.Open(ctx, id, 0, -1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	buf := make([]byte, layout.BlockSize)
	n, err := r.Next(buf)
	return buf[:n], err
}

// dump writes bytes as hex.Dump does, but for lines of zeros.
func dump(b []byte) string {
	var out strings.Builder
	for line := range strings.Lines(hex.Dump(b)) {
		if !strings.HasSuffix(line, "|"+strings.Repeat(".", 16)+"|\n") || strings.Trim(line[8:58], " 0") != "" {
			out.WriteString(line)
		}
	}
	fmt.Fprintf(&out, "%08x\n", len(b))
	return out.String()
}

func undump(t *testing.T, dump string) []byte {
	t.Helper()
	var out bytes.Buffer
	for line := range strings.Lines(dump) {
		at, err := strconv.ParseInt(line[:8], 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(make([]byte, int(at)-out.Len()))
		digits, _, _ := strings.Cut(strings.TrimSpace(line[8:]), "|")
		b, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
	}
	return out.Bytes()
}

// TestFormerFormatIsRefused opens a store that a program before segments made.
func TestFormerFormatIsRefused(t *testing.T) {
	fsys := vfs.NewMem()
	if err := vfs.MkdirAll(fsys, "/store/chunks"); err != nil {
		t.Fatal(err)
	}
	b := identity{store: goldenStore, cluster: goldenCluster}.encode()
	b[4] = 1
	binary.LittleEndian.PutUint32(b[60:], checksum(b[:60]))
	if err := writeSmall(fsys, "/store", identityName, b); err != nil {
		t.Fatal(err)
	}
	_, err := OpenDisk(DiskConfig{FS: fsys, Dir: "/store", Cluster: goldenCluster})
	if err == nil || !strings.Contains(err.Error(), "format 1, this program reads 2") {
		t.Errorf("OpenDisk = %v, want a word about formats", err)
	}
}
