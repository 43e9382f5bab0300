package peer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"testing"

	"partstore/chunkstore"
	"partstore/internal/layout"
)

var (
	fuzzID   = layout.ChunkID{Attempt: layout.NewAttemptID(1, 2, 3), Index: 4}
	fuzzSeal = chunkstore.NewSeal(fuzzID)
)

func appendBlock(dst []byte, n int64, payload []byte) []byte {
	return fuzzSeal.AppendFrame(appendHead(dst, len(payload)), n, payload)
}

// readStream reads a stream the way the client or the server does, and returns
// how many bytes it is long.
func readStream(b []byte, frames bool) (payload []byte, blocks int64, size int, err error) {
	r := bytes.NewReader(b)
	in := records{r: r, seal: fuzzSeal}
	defer func() { size = len(b) - r.Len() }()
	var buf [maxRecordSize]byte
	for {
		n, err := in.next()
		if err != nil {
			return payload, in.blocks, 0, err
		}
		if frames {
			if err := in.frame(buf[:], n); err != nil {
				return payload, in.blocks, 0, err
			}
			if _, err := fuzzSeal.Payload(in.blocks-1, buf[:n+chunkstore.ChecksumSize]); err != nil {
				return payload, in.blocks, 0, err
			}
		} else if err := in.payload(buf[:], n); err != nil {
			return payload, in.blocks, 0, err
		}
		payload = append(payload, buf[:n]...)
	}
}

// readRuns reads a stream as the client reads blocks for a range.
func readRuns(b []byte, left int64, atOnce int) (payload []byte, size int, err error) {
	r := bytes.NewReader(b)
	in := records{r: r, seal: fuzzSeal}
	buf := make([]byte, atOnce*layout.BlockRoom)
	for err == nil {
		var run [][]byte
		run, err = in.run(buf, left, nil)
		for _, block := range run {
			payload = append(payload, block...)
		}
		if left >= 0 {
			left -= int64(len(run))
		}
	}
	return payload, len(b) - r.Len(), err
}

func FuzzRecords(f *testing.F) {
	stream := appendBlock(appendBlock(nil, 0, []byte("first")), 1, []byte("second"))
	f.Add(appendEnd(bytes.Clone(stream), fuzzSeal, 2))
	f.Add(appendEnd(bytes.Clone(stream), fuzzSeal, 3))
	f.Add(appendEnd(nil, fuzzSeal, 0))
	f.Add(appendFailure(bytes.Clone(stream), chunkstore.ErrCorrupt))
	f.Add(stream)
	f.Fuzz(func(t *testing.T, b []byte) {
		payload, blocks, size, err := readStream(b, false)
		other, _, otherSize, otherErr := readStream(b, true)
		if err == nil || (errors.Is(err, errEndOfRecords) != errors.Is(otherErr, errEndOfRecords)) {
			t.Fatalf("as payloads: %v, as frames: %v", err, otherErr)
		}
		// Runs must see what single blocks show. They may refuse more: blocks that
		// nobody asked for, and what follows the end.
		for _, left := range []int64{-1, 1, blocks} {
			run, runSize, runErr := readRuns(b, left, 2)
			if !bytes.HasPrefix(payload, run) {
				t.Errorf("in runs, other bytes: %x", run)
			}
			if errors.Is(runErr, errEndOfRecords) && (!errors.Is(err, errEndOfRecords) || len(run) != len(payload) || runSize != size) {
				t.Errorf("in runs: %v after %d bytes; one by one: %v after %d", runErr, len(run), err, len(payload))
			}
		}
		if !errors.Is(err, errEndOfRecords) {
			return
		}
		if !bytes.Equal(payload, other) || size != otherSize {
			t.Errorf("payloads and frames differ")
		}
		if !bytes.HasSuffix(b[:size], appendEnd(nil, fuzzSeal, blocks)) {
			t.Errorf("complete without an end record: %x", b)
		}
	})
}

func TestStreamWithoutItsEndIsNeverComplete(t *testing.T) {
	whole := appendBlock(nil, 0, bytes.Repeat([]byte{7}, 100))
	whole = appendEnd(appendBlock(whole, 1, []byte("last")), fuzzSeal, 2)
	for _, frames := range []bool{false, true} {
		for n := range len(whole) {
			if _, _, _, err := readStream(whole[:n], frames); errors.Is(err, errEndOfRecords) {
				t.Errorf("%d of %d bytes are a complete stream", n, len(whole))
			}
		}
		payload, _, size, err := readStream(append(bytes.Clone(whole), 0), frames)
		if !errors.Is(err, errEndOfRecords) || len(payload) != 104 || size != len(whole) {
			t.Errorf("stream with a byte behind it = %d bytes of %d, %v", len(payload), size, err)
		}
	}
}

// A run that arrived together with what ends the stream leaves nothing of it
// behind, and takes nothing of what is not its own.
func TestRunsEndWithTheStream(t *testing.T) {
	full := bytes.Repeat([]byte{7}, layout.BlockSize)
	var blocks []byte
	for n := range int64(5) {
		blocks = appendBlock(blocks, n, full)
	}
	short := appendBlock(bytes.Clone(blocks), 5, []byte("last"))
	for _, tc := range []struct {
		name    string
		stream  []byte
		payload int
		err     error
	}{
		{"full blocks", appendEnd(bytes.Clone(blocks), fuzzSeal, 5), 5 * layout.BlockSize, errEndOfRecords},
		{"a short one at last", appendEnd(bytes.Clone(short), fuzzSeal, 6), 5*layout.BlockSize + 4, errEndOfRecords},
		{"a failure after full blocks", appendFailure(bytes.Clone(blocks), chunkstore.ErrCorrupt), 5 * layout.BlockSize, chunkstore.ErrCorrupt},
		{"a failure after a short one", appendFailure(bytes.Clone(short), chunkstore.ErrCorrupt), 5*layout.BlockSize + 4, chunkstore.ErrCorrupt},
		{"an end too early", appendEnd(bytes.Clone(blocks), fuzzSeal, 6), 5 * layout.BlockSize, ErrBadRequest},
		{"nothing", bytes.Clone(blocks), 5 * layout.BlockSize, io.ErrUnexpectedEOF},
	} {
		for _, atOnce := range []int{1, 2, 4, 5, 6, 9} {
			for _, left := range []int64{-1, 6, 100} {
				payload, size, err := readRuns(tc.stream, left, atOnce)
				if !errors.Is(err, tc.err) || size > len(tc.stream) {
					t.Errorf("%s, %d at a time of %d: %d bytes, %v; want %d, %v", tc.name, atOnce, left, len(payload), err, tc.payload, tc.err)
				}
				if errors.Is(err, errEndOfRecords) && len(payload) != tc.payload {
					t.Errorf("%s, %d at a time of %d: complete with %d bytes, want %d", tc.name, atOnce, left, len(payload), tc.payload)
				}
			}
		}
	}
	// The asker knows that five will come: the byte behind the end is not its own.
	if _, size, err := readRuns(append(appendEnd(bytes.Clone(blocks), fuzzSeal, 5), 9), 5, 8); !errors.Is(err, errEndOfRecords) || size != len(blocks)+headSize+endSize {
		t.Errorf("with a byte behind the end: took %d bytes, %v", size, err)
	}
}

func FuzzLabel(f *testing.F) {
	f.Add(appendLabel(nil, fuzzSeal, []byte("label")))
	f.Add(appendLabel(nil, fuzzSeal, nil))
	f.Add([]byte{0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		label, err := readLabel(bytes.NewReader(b), fuzzSeal)
		if err == nil && !bytes.HasPrefix(b, appendLabel(nil, fuzzSeal, label)) {
			t.Errorf("accepted bytes that are not sent: %x", b)
		}
	})
}

func FuzzChunkRequest(f *testing.F) {
	f.Add(chunkRequest{op: opRead, chunk: fuzzID, first: 3, count: -1}.append(nil))
	f.Add(chunkRequest{op: opStream, store: layout.StoreID{7}, chunk: fuzzID}.append(nil))
	f.Add(make([]byte, requestSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != requestSize {
			return
		}
		r, err := parseChunkRequest((*[requestSize]byte)(b))
		if err == nil && !bytes.Equal(r.append(nil), b) {
			t.Errorf("%x was read as %+v", b, r)
		}
		if err == nil && r.first < 0 {
			t.Errorf("accepted block %d", r.first)
		}
	})
}

func FuzzInfos(f *testing.F) {
	f.Add(appendInfo(appendInfo(nil, chunkstore.Info{ID: fuzzID, Size: 9, Label: []byte("l")}), chunkstore.Info{Size: -1}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		infos, err := parseInfos(b)
		if err != nil {
			return
		}
		var again []byte
		for _, info := range infos {
			again = appendInfo(again, info)
		}
		if !bytes.Equal(again, b) {
			t.Errorf("accepted bytes that are not sent: %x", b)
		}
	})
}

func FuzzCredentials(f *testing.F) {
	c := credentials{cluster: layout.ClusterID{1}, from: layout.NodeID{2}, to: layout.NodeID{3}, token: "token"}
	f.Add(c.header())
	f.Add("")
	f.Fuzz(func(t *testing.T, header string) {
		c, err := parseCredentials(header)
		if err != nil {
			if !errors.Is(err, ErrUnauthorized) {
				t.Errorf("parseCredentials = %v, want %v", err, ErrUnauthorized)
			}
			return
		}
		if c.header() != header {
			t.Errorf("accepted a header that is not sent: %q", header)
		}
	})
}

func TestCodesMapBothWays(t *testing.T) {
	seen := map[string]bool{}
	for _, row := range codes {
		if seen[row.code] {
			t.Errorf("code %s twice", row.code)
		}
		seen[row.code] = true
		code, _ := codeOf(fmt.Errorf("somewhere: %w", row.err))
		if err := errorOf(code, "text"); code != row.code || !errors.Is(err, row.err) {
			t.Errorf("%v travels as %s and arrives as %v", row.err, code, err)
		}
	}
	if err := errorOf("of the future", ""); !errors.Is(err, ErrUnreachable) {
		t.Errorf("unknown code = %v, want %v", err, ErrUnreachable)
	}
}

func TestInfoRoundTrip(t *testing.T) {
	want := []chunkstore.Info{{ID: fuzzID, Size: 1 << 40, Label: []byte("l")}, {ID: layout.ChunkID{Index: 9}, Size: -1}}
	got, err := parseInfos(appendInfo(appendInfo(nil, want[0]), want[1]))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("parseInfos = %+v, %v; want %+v", got, err, want)
	}
}
