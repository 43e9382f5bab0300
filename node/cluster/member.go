package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strconv"

	"partstore/internal/layout"
)

// Limits of what a member may say of itself; together they keep the encoding
// under memberlist's 512 bytes, beyond which memberlist panics.
const (
	MaxNameLength = 63
	MaxZoneLength = 63
	MaxHostLength = 127
	MaxStores     = 12
)

// StoreState is what a node says of one of its stores.
type StoreState uint8

// States of a store. Only a writable store gets new chunks.
const (
	StoreWritable StoreState = iota + 1
	StoreFull                // no room for new chunks
	StoreFenced              // takes no writes after a failed sync
)

func (s StoreState) String() string {
	switch s {
	case StoreWritable:
		return "writable"
	case StoreFull:
		return "full"
	case StoreFenced:
		return "fenced"
	default:
		return "unknown"
	}
}

// StoreInfo is a store as its node announces it.
type StoreInfo struct {
	ID    layout.StoreID
	State StoreState
}

// Member is a node as it announces itself. All of it is a hint.
type Member struct {
	ID      layout.NodeID
	Name    string
	Zone    string
	Cluster layout.ClusterID // zero while the node belongs to none
	// Formed reports that the cluster exists: others may join it through this
	// node. A node that only promised to be part of it is not Formed.
	Formed bool
	// TLS reports that the node speaks TLS with its peers, and nothing else.
	TLS bool
	// Predecessor is the cluster that Cluster succeeded; zero if it is the first.
	Predecessor layout.ClusterID
	// Host is where the node is reached: a name or an address, without port.
	Host                            string
	ClientPort, PeerPort, AdminPort uint16
	Stores                          []StoreInfo
}

// PeerAddr is the host:port of the member's peer listener.
func (m Member) PeerAddr() string { return hostport(m.Host, m.PeerPort) }

// ClientAddr is the host:port of the member's client listener.
func (m Member) ClientAddr() string { return hostport(m.Host, m.ClientPort) }

// AdminAddr is the host:port of the member's admin listener.
func (m Member) AdminAddr() string { return hostport(m.Host, m.AdminPort) }

func hostport(host string, port uint16) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

var errMeta = errors.New("malformed member announcement")

const metaVersion = 1

const (
	flagFormed = 1 << iota
	flagTLS
	flagPredecessor
)

// encode writes the announcement of m: version, flags, cluster ID, three ports,
// its predecessor if it has one, then name, zone and host each with a length
// byte, then the stores. The node ID is memberlist's node name and not part of
// it.
func (m Member) encode() ([]byte, error) {
	if len(m.Name) > MaxNameLength || len(m.Zone) > MaxZoneLength || len(m.Host) > MaxHostLength || len(m.Stores) > MaxStores {
		return nil, fmt.Errorf("%w: name, zone, host or stores too long", errMeta)
	}
	var flags byte
	if m.Formed {
		flags |= flagFormed
	}
	if m.TLS {
		flags |= flagTLS
	}
	if !m.Predecessor.IsZero() {
		flags |= flagPredecessor
	}
	b := append([]byte{metaVersion, flags}, m.Cluster[:]...)
	for _, port := range []uint16{m.ClientPort, m.PeerPort, m.AdminPort} {
		b = binary.LittleEndian.AppendUint16(b, port)
	}
	if flags&flagPredecessor != 0 {
		b = append(b, m.Predecessor[:]...)
	}
	for _, s := range []string{m.Name, m.Zone, m.Host} {
		b = append(append(b, byte(len(s))), s...)
	}
	b = append(b, byte(len(m.Stores)))
	for _, s := range m.Stores {
		b = append(append(b, s.ID[:]...), byte(s.State))
	}
	return b, nil
}

// decodeMember reads what encode wrote. It rejects every other input.
func decodeMember(id layout.NodeID, b []byte) (Member, error) {
	m := Member{ID: id}
	const fixed = 2 + 16 + 3*2
	if len(b) < fixed || b[0] != metaVersion || b[1] > flagFormed|flagTLS|flagPredecessor {
		return Member{}, fmt.Errorf("%w: %d bytes", errMeta, len(b))
	}
	flags := b[1]
	m.Formed, m.TLS = flags&flagFormed != 0, flags&flagTLS != 0
	copy(m.Cluster[:], b[2:18])
	m.ClientPort = binary.LittleEndian.Uint16(b[18:])
	m.PeerPort = binary.LittleEndian.Uint16(b[20:])
	m.AdminPort = binary.LittleEndian.Uint16(b[22:])
	b = b[fixed:]
	if flags&flagPredecessor != 0 {
		if b = b[copy(m.Predecessor[:], b):]; m.Predecessor.IsZero() {
			return Member{}, fmt.Errorf("%w: no predecessor", errMeta)
		}
	}
	for _, s := range []*string{&m.Name, &m.Zone, &m.Host} {
		if len(b) < 1 || len(b) < 1+int(b[0]) {
			return Member{}, fmt.Errorf("%w: text cut short", errMeta)
		}
		end := 1 + int(b[0])
		*s, b = string(b[1:end]), b[end:]
	}
	const storeSize = 16 + 1
	if len(b) < 1 || b[0] > MaxStores || len(b) != 1+int(b[0])*storeSize {
		return Member{}, fmt.Errorf("%w: stores cut short", errMeta)
	}
	for b = b[1:]; len(b) > 0; b = b[storeSize:] {
		m.Stores = append(m.Stores, StoreInfo{ID: layout.StoreID(b[:16]), State: StoreState(b[16])})
	}
	return m, nil
}
