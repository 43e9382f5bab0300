package layout

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrBadID reports text or bytes that are no identifier of the wanted kind.
var ErrBadID = errors.New("malformed identifier")

// id is the common shape of identifiers: 16 bytes, written as 32 lower-case
// hexadecimal digits.
type id [16]byte

func (d id) String() string { return hex.EncodeToString(d[:]) }

func randomID() (d id) {
	rand.Read(d[:]) // never fails since Go 1.24
	return d
}

func parseID(kind, s string) (d id, err error) {
	if len(s) != 2*len(d) || strings.ToLower(s) != s {
		return id{}, fmt.Errorf("%s %q: %w", kind, s, ErrBadID)
	}
	if _, err := hex.Decode(d[:], []byte(s)); err != nil {
		return id{}, fmt.Errorf("%s %q: %w", kind, s, ErrBadID)
	}
	return d, nil
}

// ClusterID names one cluster for its whole life. The zero value means "none yet".
type ClusterID id

// NodeID names one node; it is made once, in the node's data directory.
type NodeID id

// StoreID names one store; it is made once, in the store's data directory.
type StoreID id

// NewClusterID returns a fresh random ClusterID.
func NewClusterID() ClusterID { return ClusterID(randomID()) }

// NewNodeID returns a fresh random NodeID.
func NewNodeID() NodeID { return NodeID(randomID()) }

// NewStoreID returns a fresh random StoreID.
func NewStoreID() StoreID { return StoreID(randomID()) }

// ParseClusterID reads the text form; errors wrap ErrBadID.
func ParseClusterID(s string) (ClusterID, error) {
	d, err := parseID("cluster ID", s)
	return ClusterID(d), err
}

// ParseNodeID reads the text form; errors wrap ErrBadID.
func ParseNodeID(s string) (NodeID, error) {
	d, err := parseID("node ID", s)
	return NodeID(d), err
}

// ParseStoreID reads the text form; errors wrap ErrBadID.
func ParseStoreID(s string) (StoreID, error) {
	d, err := parseID("store ID", s)
	return StoreID(d), err
}

func (d ClusterID) String() string { return id(d).String() }
func (d NodeID) String() string    { return id(d).String() }
func (d StoreID) String() string   { return id(d).String() }

// IsZero reports whether d is the absent identifier.
func (d ClusterID) IsZero() bool { return d == ClusterID{} }

// IsZero reports whether d is the absent identifier.
func (d NodeID) IsZero() bool { return d == NodeID{} }

// IsZero reports whether d is the absent identifier.
func (d StoreID) IsZero() bool { return d == StoreID{} }

// MarshalText and UnmarshalText make identifiers read as hex in JSON and YAML.
func (d ClusterID) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// MarshalText implements encoding.TextMarshaler.
func (d NodeID) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// MarshalText implements encoding.TextMarshaler.
func (d StoreID) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *ClusterID) UnmarshalText(b []byte) (err error) {
	*d, err = ParseClusterID(string(b))
	return err
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *NodeID) UnmarshalText(b []byte) (err error) { *d, err = ParseNodeID(string(b)); return err }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *StoreID) UnmarshalText(b []byte) (err error) { *d, err = ParseStoreID(string(b)); return err }

// UploadID names a multipart upload, and later the object it became. Its first
// two bytes (four hex digits) name the registry shard; there is one today, 0000.
type UploadID id

// NewUploadID returns a fresh random UploadID of registry shard 0.
func NewUploadID() UploadID {
	d := randomID()
	d[0], d[1] = 0, 0
	return UploadID(d)
}

// ParseUploadID reads the text form; errors wrap ErrBadID. Well-formed text of
// an upload that never existed parses: only the registry knows what exists.
func ParseUploadID(s string) (UploadID, error) {
	d, err := parseID("upload ID", s)
	return UploadID(d), err
}

func (d UploadID) String() string { return id(d).String() }

// MarshalText implements encoding.TextMarshaler.
func (d UploadID) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *UploadID) UnmarshalText(b []byte) (err error) {
	*d, err = ParseUploadID(string(b))
	return err
}

// RequestID names one registry command, so that a command proposed twice takes
// effect once.
type RequestID id

// NewRequestID returns a fresh random RequestID.
func NewRequestID() RequestID { return RequestID(randomID()) }

func (d RequestID) String() string { return id(d).String() }

// PartNumber is the client's number for a part, MinPartNumber to MaxPartNumber.
type PartNumber uint16

// Part numbers run from 0 to 10000 inclusive (QingStor, Multipart, limits).
const (
	MinPartNumber PartNumber = 0
	MaxPartNumber PartNumber = 10000
)

// RegistryTime is time as the registry counts it, in milliseconds since the
// cluster was born. It never jumps and is no wall clock.
type RegistryTime uint64

// Incarnation numbers the starts of nodes. The registry gives each start of
// each node its own number and never gives one twice.
type Incarnation uint32

// AttemptID names one PUT of one part: 4 bytes incarnation, 6 bytes registry
// time at which the attempt began, 6 bytes sequence number, all big-endian. An
// incarnation belongs to one process, so counting is enough to be unique.
type AttemptID id

// NewAttemptID builds the ID of the sequence-th attempt of an incarnation.
// Only the low 48 bits of began and sequence are kept.
func NewAttemptID(inc Incarnation, began RegistryTime, sequence uint64) AttemptID {
	var d AttemptID
	binary.BigEndian.PutUint64(d[0:8], uint64(inc)<<32|uint64(began)>>16&0xffffffff)
	binary.BigEndian.PutUint64(d[8:16], uint64(began)<<48|sequence&(1<<48-1))
	return d
}

// Incarnation returns the coordinator's incarnation.
func (d AttemptID) Incarnation() Incarnation { return Incarnation(binary.BigEndian.Uint32(d[0:4])) }

// Began returns the registry time at which the attempt began.
func (d AttemptID) Began() RegistryTime {
	return RegistryTime(uint64(binary.BigEndian.Uint32(d[4:8]))<<16 | uint64(binary.BigEndian.Uint16(d[8:10])))
}

func (d AttemptID) String() string { return id(d).String() }

// IsZero reports whether d is the absent identifier.
func (d AttemptID) IsZero() bool { return d == AttemptID{} }

// MarshalText implements encoding.TextMarshaler.
func (d AttemptID) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *AttemptID) UnmarshalText(b []byte) error {
	v, err := parseID("attempt ID", string(b))
	*d = AttemptID(v)
	return err
}

// ChunkID names one chunk: all shards with one index of one attempt.
type ChunkID struct {
	Attempt AttemptID
	Index   uint8 // 0 .. Scheme.Total()-1; data chunks first
}

// String returns the text form: the attempt, a dash, and the index in decimal.
func (c ChunkID) String() string { return c.Attempt.String() + "-" + strconv.Itoa(int(c.Index)) }

// Compare orders chunk IDs by attempt, then index, as bytes.
func (c ChunkID) Compare(o ChunkID) int {
	if d := bytes.Compare(c.Attempt[:], o.Attempt[:]); d != 0 {
		return d
	}
	return int(c.Index) - int(o.Index)
}

// ParseChunkID reads the form String writes; errors wrap ErrBadID.
func ParseChunkID(s string) (ChunkID, error) {
	attempt, index, ok := strings.Cut(s, "-")
	if !ok {
		return ChunkID{}, fmt.Errorf("chunk ID %q: %w", s, ErrBadID)
	}
	a, err := parseID("chunk ID", attempt)
	if err != nil {
		return ChunkID{}, err
	}
	i, err := strconv.ParseUint(index, 10, 8)
	if err != nil || strconv.Itoa(int(i)) != index {
		return ChunkID{}, fmt.Errorf("chunk ID %q: %w", s, ErrBadID)
	}
	return ChunkID{Attempt: AttemptID(a), Index: uint8(i)}, nil
}
