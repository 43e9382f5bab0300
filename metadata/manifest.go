package metadata

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"path/filepath"

	"github.com/hashicorp/raft"
)

// A manifest says what a snapshot is of, and which files it has:
//
//	offset  size  field
//	0       4     magic "PSSM"
//	4       1     version, 1
//	5       4     size of the body, little-endian
//	9       4     CRC-32C of bytes 0-8 and of the body, little-endian
//	13      ...   body: index, term, index of Raft's configuration, the
//	              configuration as Raft encodes it, number of the rows' directory
//	              whose tables are linked (0: of another node's), number of files,
//	              and for each file in ascending order: name, size, CRC-32C
//
// Integers of the body are varints. The manifest is also how the stream of a
// snapshot begins; the files follow in its order, in frames:
//
//	frame   up to 256 KiB of one file, as much as is left of it, and
//	        the CRC-32C of the file up to here, little-endian
//
// So the size of a stream is known beforehand, and whoever reads one knows
// after each frame whether all so far is as it was written.
type manifest struct {
	index              uint64 // the rows have this log index, or a later one
	term               uint64
	configurationIndex uint64
	configuration      []byte
	rows               uint64 // state-N whose tables these are; 0: none of this node's
	files              []fileSum
}

// fileSum is one file of a snapshot.
type fileSum struct {
	name string
	size int64
	sum  uint32 // CRC-32C of the whole file
}

const (
	manifestMagic   = "PSSM"
	manifestVersion = 1
	manifestHeader  = 13
	manifestMax     = 4 << 20 // bytes of a body: some hundred thousand files
	snapshotFrame   = 256 << 10
	checksumSize    = 4
)

func newManifest(index, term uint64, c raft.Configuration, configurationIndex uint64) manifest {
	return manifest{index: index, term: term, configuration: raft.EncodeConfiguration(c), configurationIndex: configurationIndex}
}

func (m *manifest) code(c *coder) {
	c.uint(&m.index)
	c.uint(&m.term)
	c.uint(&m.configurationIndex)
	c.bytes(&m.configuration, manifestMax)
	c.uint(&m.rows)
	codeList(c, &m.files, math.MaxInt32, (*fileSum).code)
	for i := range m.files {
		if i > 0 && m.files[i-1].name >= m.files[i].name {
			c.fail("file %q out of order", m.files[i].name)
		}
	}
}

func (f *fileSum) code(c *coder) {
	c.string(&f.name, maxNameSize)
	c.size(&f.size)
	c.uint32(&f.sum)
	if f.name == "" || f.name != filepath.Base(f.name) || f.name == "." || f.name == ".." {
		c.fail("file name %q", f.name)
	}
}

func (m *manifest) encode() ([]byte, error) {
	body, err := encodeValue(m.code)
	if err != nil || len(body) > manifestMax {
		return nil, fmt.Errorf("manifest of %d bytes: %w", len(body), err)
	}
	b := append([]byte(manifestMagic), manifestVersion)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	b = binary.LittleEndian.AppendUint32(b, manifestSum(b, body))
	return append(b, body...), nil
}

func manifestSum(header, body []byte) uint32 {
	return crc32.Update(crc32.Checksum(header[:9], castagnoli), castagnoli, body)
}

// manifestBody returns the size of the body that follows a header.
func manifestBody(header []byte) (int, error) {
	if len(header) < manifestHeader || string(header[:4]) != manifestMagic {
		return 0, fmt.Errorf("%w: not the begin of a snapshot", ErrDamaged)
	}
	size := binary.LittleEndian.Uint32(header[5:])
	if size == 0 || size > manifestMax {
		return 0, fmt.Errorf("%w: manifest of %d bytes", ErrDamaged, size)
	}
	return int(size), nil
}

// parseManifest reads a manifest and nothing behind it.
func parseManifest(b []byte) (m manifest, err error) {
	size, err := manifestBody(b)
	if err != nil {
		return m, err
	}
	header, body := b[:manifestHeader], b[manifestHeader:]
	if len(body) != size || manifestSum(header, body) != binary.LittleEndian.Uint32(header[9:]) {
		return m, fmt.Errorf("%w: manifest checksum", ErrDamaged)
	}
	if header[4] != manifestVersion { // the rest of the header is the same in every version
		return m, fmt.Errorf("snapshot version %d; this binary reads %d", header[4], manifestVersion)
	}
	if err := decodeValue(body, m.code); err != nil {
		return manifest{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return m, nil
}

// tables are the sums of the snapshot's tables.
func (m *manifest) tables() map[string]fileSum {
	sums := map[string]fileSum{}
	for _, f := range m.files {
		if isTable(f.name) {
			sums[f.name] = f
		}
	}
	return sums
}

// streamSize is how many bytes the stream of the snapshot has.
func (m *manifest) streamSize() (int64, error) {
	b, err := m.encode()
	size := int64(len(b))
	for _, f := range m.files {
		size += f.size + (f.size+snapshotFrame-1)/snapshotFrame*checksumSize
	}
	return size, err
}
