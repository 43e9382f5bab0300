package metadata

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"partstore/internal/layout"
	"partstore/internal/testrand"
)

// newVariedBench has rows of every kind.
func newVariedBench(t testing.TB) *bench {
	b := newStockedBench(t)
	done, open, gone := b.open(1, "done\x00"), b.open(2, "open"), b.open(3, "gone")
	for i, ref := range []UploadRef{done, open, gone, done, open, done, done} {
		p := testPart(layout.PartNumber(i), MinPartSize+int64(i), b.attempt(uint64(i)))
		b.must(commitOf(ref, p))
	}
	b.must(commitOf(open, testPart(1, 7, b.attempt(77)))) // in place of the first
	b.must(&abortUpload{gone})
	b.must(&completeUpload{Request: testRequest(60), CompleteUpload: CompleteUpload{UploadRef: done, Parts: []CompletePart{{Number: 0}, {Number: 3}}}})
	b.must(&putObject{PutObject{Bucket: "b", Key: "small", ID: testUpload(9), Part: testPart(0, 1, b.attempt(9))}})
	b.must(&putObject{PutObject{Bucket: "b", Key: "small", ID: testUpload(10), Part: testPart(0, 1, b.attempt(10))}})
	b.must(b.copyOf("done\x00", "copy"))
	b.must(b.copyOf("copy", "done"))
	b.must(b.copyOf("small", "small"))
	b.must(b.appendOf("log", 20, 5))
	b.must(b.appendOf("log", 20, 6))
	return b
}

var testBackupInfo = BackupInfo{Cluster: layout.ClusterID{5}, Index: 0, Created: time.UnixMicro(1_700_000_000_123_456).UTC()}

func backupOf(t testing.TB, b *bench) []byte {
	t.Helper()
	info := testBackupInfo
	info.Index = b.index
	var out bytes.Buffer
	if err := writeBackup(&out, b.db, info); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func verify(b []byte) (BackupReport, error) { return VerifyBackup(bytes.NewReader(b), func(int) {}) }

func TestBackupIsVerifiedWithoutARegistry(t *testing.T) {
	b := newVariedBench(t)
	report, err := verify(backupOf(t, b))
	if err != nil || len(report.Problems) > 0 {
		t.Fatalf("VerifyBackup = %+v, %v", report, err)
	}
	if report.Cluster != testBackupInfo.Cluster || report.Index != b.index || !report.Created.Equal(testBackupInfo.Created) {
		t.Errorf("info = %+v", report.BackupInfo)
	}
	n := report.Rows
	if n.Buckets != 1 || n.Uploads != 1 || n.Parts != 11 || n.Objects != 5 || n.Garbage != 4 || n.Members != 1 || n.Stores != 6 || n.Groups != 2 || n.Memory == 0 {
		t.Errorf("rows = %+v", n)
	}
}

// The bytes of a backup outlive the binary that made it. If this fails, the
// change needs a new version of backups, or of rows.
func TestBackupFormatIsStable(t *testing.T) {
	const path = "testdata/backup.golden"
	got := backupOf(t, newVariedBench(t))
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("a backup of %d bytes differs from the golden one of %d, %v", len(got), len(want), err)
	}
}

// A backup of rows before there was anything that an object leaves.
func TestBackupOfAnEarlierFormatIsVerified(t *testing.T) {
	b, err := os.ReadFile("testdata/backup-3.golden")
	if err != nil {
		t.Fatal(err)
	}
	if report, err := verify(b); err != nil || len(report.Problems) > 0 || report.Rows.Parts != 9 {
		t.Errorf("VerifyBackup = %+v, %v", report, err)
	}
}

// Each bit of a backup counts: no damage of one bit, no cut and no addition is
// taken for a backup.
func TestDamagedBackupIsRefused(t *testing.T) {
	r := testrand.New(t)
	whole := backupOf(t, newVariedBench(t))
	for i := range whole {
		bad := bytes.Clone(whole)
		bad[i] ^= 1 << r.IntN(8)
		if report, err := verify(bad); !errors.Is(err, ErrDamaged) {
			t.Fatalf("bit flipped in byte %d of %d: %+v, %v", i, len(bad), report, err)
		}
		if _, err := verify(whole[:i]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut to %d bytes: %v", i, err)
		}
	}
	if _, err := verify(append(bytes.Clone(whole), 0)); !errors.Is(err, ErrDamaged) {
		t.Errorf("one byte more: %v", err)
	}
}

// Rows that are sound and contradict each other are found.
func TestVerifyFindsRowsThatContradict(t *testing.T) {
	part := func(id layout.UploadID, n layout.PartNumber) []byte {
		enc, err := encodeValue(func(c *coder) { p := testPart(n, 5, layout.AttemptID{1}); p.code(c) })
		if err != nil {
			t.Fatal(err)
		}
		return enc
	}
	tests := []struct {
		name   string
		change func(b *bench, batch *pebble.Batch) error
		want   string
	}{
		{"a part nothing names", func(_ *bench, w *pebble.Batch) error {
			return w.Set(partKey(testUpload(50), 4), part(testUpload(50), 4), nil)
		}, "belong to nothing"},
		{"a part that is not counted", func(_ *bench, w *pebble.Batch) error {
			return w.Set(partKey(testUpload(2), 9), part(testUpload(2), 9), nil)
		}, "by their count"},
		{"a count of an upload that ended", func(_ *bench, w *pebble.Batch) error {
			one := 1
			enc, err := encodeValue(codePartCount(&one))
			return errors.Join(err, w.Set(countKey(testUpload(1)), enc, nil))
		}, "by their count"},
		{"a part under another number", func(_ *bench, w *pebble.Batch) error {
			return w.Set(partKey(testUpload(2), 5), part(testUpload(2), 4), nil)
		}, "under another number"},
		{"an object without a part", func(_ *bench, w *pebble.Batch) error {
			return w.Delete(partKey(testUpload(1), 3), nil)
		}, "has 2 parts"},
		{"an object without its bucket", func(_ *bench, w *pebble.Batch) error {
			return w.Delete(bucketKey("b"), nil)
		}, "which is none"},
		{"an upload that is not listed", func(_ *bench, w *pebble.Batch) error {
			return w.DeleteRange([]byte{rowListing}, []byte{rowListing + 1}, nil)
		}, "is not listed"},
		{"an upload that is listed and gone", func(_ *bench, w *pebble.Batch) error {
			return w.Delete(uploadKey(testUpload(2)), nil)
		}, "listed and not open"},
		{"a group with a strange store", func(_ *bench, w *pebble.Batch) error {
			return w.Delete(storeKey(layout.StoreID{1, 3}), nil)
		}, "has store"},
		{"a part in a group that is none", func(_ *bench, w *pebble.Batch) error {
			return w.DeleteRange(groupKey(0), groupKey(9), nil)
		}, "in group 0, which is none"},
		{"garbage that is an object", func(b *bench, w *pebble.Batch) error {
			enc, err := encodeValue((&Garbage{Upload: testUpload(1)}).code)
			return errors.Join(err, w.Set(garbageKey(1, 999), enc, nil))
		}, "several of"},
		{"parts left to garbage that is gone", func(_ *bench, w *pebble.Batch) error {
			return w.DeleteRange([]byte{rowGarbage}, []byte{rowGarbage + 1}, nil)
		}, "left parts to the garbage queue"},
		{"parts left to garbage nobody knows of", func(_ *bench, w *pebble.Batch) error {
			return w.Delete(restKey(testUpload(1)), nil)
		}, "left parts elsewhere"},
		{"fewer parts left than are said to be", func(_ *bench, w *pebble.Batch) error {
			return w.Delete(partKey(testUpload(1), 5), nil)
		}, "there are 1"},
		{"a bucket with less than it is said to have", func(_ *bench, w *pebble.Batch) error {
			return w.Set(usageKey("b"), []byte{9, 0}, nil)
		}, "said to have 9"},
		{"a bucket nobody counted", func(_ *bench, w *pebble.Batch) error {
			return w.Delete(usageKey("b"), nil)
		}, "said to have 0 of 0"},
		{"a copy nobody counts", func(_ *bench, w *pebble.Batch) error {
			return w.Delete(namesKey(testUpload(1)), nil)
		}, "is named by 3 objects; 0 are said to"},
		{"a copy too many", func(_ *bench, w *pebble.Batch) error {
			return w.Delete(objectKey("b", "copy"), nil)
		}, "is named by 2 objects; 3 are said to"},
		{"a count of one", func(_ *bench, w *pebble.Batch) error {
			return w.Set(namesKey(testUpload(10)), []byte{1}, nil)
		}, "said to be named by 1"},
		{"a copy that is longer", func(b *bench, w *pebble.Batch) error {
			o, err := findObject(b.db, "b", "copy")
			o.Size++
			enc, encErr := encodeValue(o.code)
			return errors.Join(err, encErr, w.Set(objectKey("b", "copy"), enc, nil))
		}, "are of one upload and differ"},
		{"a part that expires", func(_ *bench, w *pebble.Batch) error {
			return w.Set(expiryKey(5, partKey(testUpload(1), 0)), nil, nil)
		}, "is to expire"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			b := newVariedBench(t)
			batch := b.db.NewBatch()
			if err := errors.Join(tc.change(b, batch), batch.Commit(pebble.NoSync)); err != nil {
				t.Fatal(err)
			}
			report, err := verify(backupOf(t, b))
			if got := fmt.Sprint(report.Problems); err != nil || !strings.Contains(got, tc.want) {
				t.Errorf("problems = %s, %v; want one with %q", got, err, tc.want)
			}
		})
	}
}

// A backup has what was acknowledged before it was asked for, on any node, and
// is of one instant though commits go on. A kind of row that the check does not
// know would show here.
func TestBackupOfARunningClusterIsConsistent(t *testing.T) {
	c := newCluster(t, 3, nil)
	inc := stock(t, c.nodes[0])
	worst, stop := commitForever(t, c.nodes[1], inc)
	defer stop()
	for i := range 5 {
		mark := newUpload(t, c.nodes[i%3], "b", "mark")
		worst() // one more commit at least
		var out bytes.Buffer
		if err := c.nodes[(i+1)%3].Backup(t.Context(), &out); err != nil {
			t.Fatalf("Backup: %v", err)
		}
		report, err := verify(out.Bytes())
		if err != nil || len(report.Problems) > 0 {
			t.Fatalf("VerifyBackup = %v, %v", report.Problems, err)
		}
		if !bytes.Contains(out.Bytes(), mark.ID[:]) {
			t.Error("the backup has not what was acknowledged before")
		}
	}
}

func FuzzBackup(f *testing.F) {
	f.Add(backupOf(f, newVariedBench(f)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if report, err := verify(b); err == nil && report.Rows.Parts > len(b) {
			t.Fatalf("%+v out of %d bytes", report, len(b))
		}
	})
}
