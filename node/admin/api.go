package admin

import (
	"time"

	"partstore/internal/layout"
)

// Health is the verdict over a cluster.
type Health string

// The values of Health, best first.
const (
	HealthOK          Health = "ok"          // every part can be whole, every write finds all its stores
	HealthDegraded    Health = "degraded"    // everything is served, with less margin than the scheme wants
	HealthUnavailable Health = "unavailable" // some reads or writes fail
)

// Reason is one finding behind a verdict other than HealthOK.
type Reason struct {
	Code    string `json:"code"` // one of the Reason constants
	Message string `json:"message"`
}

// Status describes a cluster as one node sees it.
type Status struct {
	Health  Health   `json:"health"`
	Reasons []Reason `json:"reasons"`

	Cluster layout.ClusterID `json:"cluster_id"`
	Scheme  layout.Scheme    `json:"scheme"` // for new parts
	Node    NodeRef          `json:"node"`   // the node that answers
	Version string           `json:"version"`

	Leader *NodeRef  `json:"leader"` // null while none is known
	Term   uint64    `json:"term"`
	Voters []NodeRef `json:"voters"`

	// Digest is the newest comparison of the answering node's registry with
	// the others'; null before the first.
	Digest *Digest `json:"digest"`

	// Damaged are the nodes that gave up a damaged registry and have not caught
	// up with another yet.
	Damaged []NodeRef `json:"damaged,omitempty"`

	// Faulty are the nodes that wait until the disk of their registry takes
	// writes again.
	Faulty []NodeRef `json:"faulty,omitempty"`

	// Absentees are the retired nodes that still vote.
	Absentees []NodeRef `json:"absentees,omitempty"`

	// Room is what the answering node's registry has on its disk: "enough",
	// "low" or "none".
	Room string `json:"registry_room"`

	Nodes  NodeCounts  `json:"nodes"`
	Stores StoreCounts `json:"stores"`
	Groups GroupCounts `json:"groups"`
}

// Digest is a hash of a registry's whole state at one log index, and what the
// other members found there.
type Digest struct {
	Index uint64    `json:"index"`
	Sum   string    `json:"sum"` // hex
	Equal int       `json:"equal"`
	Asked int       `json:"asked"`
	Other []NodeRef `json:"other"` // members that found another
}

// NodeRef names a node.
type NodeRef struct {
	ID   layout.NodeID `json:"id"`
	Name string        `json:"name"`
}

// NodeCounts counts nodes.
type NodeCounts struct {
	Total int `json:"total"`
	Up    int `json:"up"`
	Down  int `json:"down"`
	// Retired nodes are down and missed by nobody: their stores are out or dead,
	// and others have all that was theirs.
	Retired int `json:"retired"`
}

// StoreCounts counts stores and adds up their room. A fenced store is neither
// up nor down: its node answers, it reads, and it takes no more writes.
type StoreCounts struct {
	Total         int   `json:"total"`
	Up            int   `json:"up"`
	Down          int   `json:"down"`
	Fenced        int   `json:"fenced"`
	Retired       int   `json:"retired"` // out or dead, and others have all that was theirs
	CapacityBytes int64 `json:"capacity_bytes"`
	FreeBytes     int64 `json:"free_bytes"` // of the stores that are up
}

// GroupCounts sorts groups by how many of their slots are up, measured against
// the cluster's scheme k+m. A slot that is up does not prove the chunks in it
// good; object inspection does.
type GroupCounts struct {
	Total         int `json:"total"`
	Whole         int `json:"whole"`          // all slots up
	Degraded      int `json:"degraded"`       // a slot is down; one more loss is survived
	WithoutMargin int `json:"without_margin"` // exactly k slots up: readable, the next loss is not survived
	Unreadable    int `json:"unreadable"`     // fewer than k slots up
	// AtRisk is every group that is not whole. Parts in these groups, and no
	// others, count as at risk. Parts are spread evenly over groups, so
	// AtRisk/Total estimates the share of parts.
	AtRisk int `json:"at_risk"`
	// Moving is how many slots changed hands and have not settled: the new store
	// may not have all chunks yet. Such a slot counts as up while both are there.
	Moving int `json:"moving"`
}

// Role is a node's part in the registry.
type Role string

// The values of Role.
const (
	RoleLeader   Role = "leader"
	RoleVoter    Role = "voter"    // votes and is not the leader
	RoleNonvoter Role = "nonvoter" // holds a full copy and has no vote
	RoleUnknown  Role = "unknown"
)

// Node describes one node.
type Node struct {
	ID           layout.NodeID `json:"id"`
	Name         string        `json:"name"`
	Zone         string        `json:"zone"`
	Addresses    Addresses     `json:"addresses"`
	Alive        bool          `json:"alive"`
	Role         Role          `json:"role"`
	AppliedIndex *uint64       `json:"applied_index"` // null if the node could not be asked
	Version      string        `json:"version"`       // "" if the node could not be asked
	Stores       []Store       `json:"stores"`
	Refused      []RefusedDir  `json:"refused,omitempty"` // directories for stores that it left alone
	Freed        *Amount       `json:"freed"`             // on its stores since it started; null if the node could not be asked
	Heal         *Heal         `json:"heal"`              // null if the node could not be asked
	Scrub        *Scrub        `json:"scrub"`             // null if the node could not be asked
	// Lifecycle is null if the node could not be asked.
	Lifecycle *Lifecycle `json:"lifecycle"`
	// Damage is why the node gave up its registry; "" once it has caught up
	// with another, and if the node could not be asked.
	Damage string `json:"damage,omitempty"`

	// Fault is what the disk of the node's registry did; "" unless the node
	// waits for it.
	Fault string `json:"fault,omitempty"`
}

// Heal is what a node's last pass over the part records did, and all since it
// started.
type Heal struct {
	Chunks      int `json:"chunks"`   // of the node's stores, by the records
	Recorded    int `json:"recorded"` // were there and whole, and the record did not say so
	Rebuilt     int `json:"rebuilt"`
	Left        int `json:"left"`   // could not be healed
	Narrow      int `json:"narrow"` // parts with their first chunk here that have a narrower scheme than the cluster's still
	AllRecorded int `json:"all_recorded"`
	AllRebuilt  int `json:"all_rebuilt"`
	AllWidened  int `json:"all_widened"` // parts that have the full scheme since
	// RebuildSeconds is how long all rebuilt ones took, pauses that keep to the
	// bandwidth included.
	RebuildSeconds float64 `json:"rebuild_seconds"`
	// Of slots that changed hands, since the node started.
	AllCopied  int `json:"all_copied"`  // of those rebuilt, chunks copied from the former holder
	AllSettled int `json:"all_settled"` // slots that have all their chunks here
	AllLetGo   int `json:"all_let_go"`  // chunks freed here that another store has
}

// Lifecycle is how far a node has come in applying the lifecycle rules of all
// buckets, which it does while it leads, and what that deleted since it started.
// Times are those of the node's clock.
type Lifecycle struct {
	Began   time.Time `json:"began"`  // of the pass under way; zero: none is
	Bucket  string    `json:"bucket"` // that it is at
	Passed  time.Time `json:"passed"` // end of the last pass without a failure; zero: none yet
	Failed  int       `json:"failed"` // buckets left out by the last pass
	Expired int64     `json:"expired"`
	Aborted int64     `json:"aborted"`
}

// MemberList is the membership of the registry.
type MemberList struct {
	// Version names this membership: a change carries it and is refused if
	// the membership is another by then.
	Version uint64 `json:"version"`
	// Settled is false while a change is still under way.
	Settled bool     `json:"settled"`
	Members []Member `json:"members"` // in the order they joined
	// Removed are nodes that operators removed. They may not become members
	// again unless that is taken back.
	Removed []NodeRef `json:"removed"`
}

// Member is one member of the registry.
type Member struct {
	NodeRef
	Role         Role    `json:"role"`
	Wish         string  `json:"wish"` // of operators: "none", "vote", "no-vote" or "gone"
	Alive        bool    `json:"alive"`
	AppliedIndex *uint64 `json:"applied_index"` // null if the node could not be asked
}

// Addresses are a node's listeners as others reach them, host:port; "" if unknown.
type Addresses struct {
	Client string `json:"client"`
	Peer   string `json:"peer"`
	Gossip string `json:"gossip"`
	Admin  string `json:"admin"`
}

// StoreState is the state of a store.
type StoreState string

// The values of StoreState.
const (
	StoreUp     StoreState = "up"
	StoreDown   StoreState = "down"
	StoreFenced StoreState = "fenced"
)

// Store describes one store of a node.
type Store struct {
	ID            layout.StoreID `json:"id"`
	State         StoreState     `json:"state"`
	CapacityBytes int64          `json:"capacity_bytes"`
	FreeBytes     int64          `json:"free_bytes"` // -1 if unknown

	// Of what only the node knows; nothing if it could not be asked.
	Dir   string  `json:"dir"`             // where it is, or was seen last
	Fault string  `json:"fault,omitempty"` // why it is not open, or takes no writes
	Freed *Amount `json:"freed"`           // since the node started
	Scrub *Scrub  `json:"scrub"`

	Duty     string `json:"duty"`             // in, draining, out or dead
	Reason   string `json:"reason,omitempty"` // for that, if it was decided
	Version  uint64 `json:"version"`          // of the decision
	Slots    int    `json:"slots"`            // of groups, that it holds
	Arriving int    `json:"arriving"`         // of those, not known to have all chunks yet
	Leaving  int    `json:"leaving"`          // held before, whose new store may still need it
}

// RefusedDir is a directory that a node was told to have a store in, and has not.
type RefusedDir struct {
	Dir   string `json:"dir"`
	Fault string `json:"fault"`
}

// Retired reports whether nobody misses the store.
func (s Store) Retired() bool {
	return (s.Duty == "out" || s.Duty == "dead") && s.Slots == 0 && s.Leaving == 0
}

// Ref names the node.
func (n Node) Ref() NodeRef { return NodeRef{ID: n.ID, Name: n.Name} }

// Needed counts the slots whose chunks may be needed from this node.
func (n Node) Needed() (slots int) {
	for _, s := range n.Stores {
		slots += s.Slots + s.Leaving
	}
	return slots
}

// Retired reports whether nobody misses the node.
func (n Node) Retired() bool {
	for _, s := range n.Stores {
		if !s.Retired() {
			return false
		}
	}
	return !n.Alive && len(n.Stores) > 0
}

// NodeList is the answer to "node list".
type NodeList struct {
	Nodes []Node `json:"nodes"`
}

// UploadQuery selects open uploads. The zero value selects the first
// DefaultUploadLimit of all.
type UploadQuery struct {
	Bucket   string // "" for every bucket
	Prefix   string // only keys that begin so
	Limit    int    // 1 to MaxUploadLimit
	AfterKey string // continue after this key of Bucket, and after AfterID within it
	AfterID  string
}

// Limits of one page of uploads.
const (
	DefaultUploadLimit = 100
	MaxUploadLimit     = 1000
)

// UploadList is one page of open uploads.
type UploadList struct {
	Uploads []Upload `json:"uploads"`
	More    bool     `json:"more"` // there are uploads after the last one of the page
}

// Upload describes an open upload.
type Upload struct {
	Bucket  string          `json:"bucket"`
	Key     string          `json:"key"`
	ID      layout.UploadID `json:"id"`
	Created time.Time       `json:"created"`
}

// UploadDetail is an open upload with all its parts.
type UploadDetail struct {
	Upload
	Size  int64  `json:"size"` // bytes, of all parts
	Parts []Part `json:"parts"`
}

// Part describes a part record.
type Part struct {
	Number   layout.PartNumber `json:"number"`
	Size     int64             `json:"size"`
	ETag     string            `json:"etag"`
	Modified time.Time         `json:"modified"`
	Scheme   layout.Scheme     `json:"scheme"`
	Group    layout.GroupID    `json:"group"`
	Attempt  layout.AttemptID  `json:"attempt"`
}

// PartState is how readable a part, or an object as the worst of its parts, is.
type PartState string

// The values of PartState, best first.
const (
	PartWhole      PartState = "whole"      // every chunk is ok
	PartDegraded   PartState = "degraded"   // readable, with fewer than k+m good chunks
	PartUnreadable PartState = "unreadable" // fewer than k good chunks can be had now
)

// ObjectReport is an inspected object.
type ObjectReport struct {
	Bucket   string          `json:"bucket"`
	Key      string          `json:"key"`
	ID       layout.UploadID `json:"id"`
	Size     int64           `json:"size"`
	ETag     string          `json:"etag"`
	Modified time.Time       `json:"modified"`
	State    PartState       `json:"state"`
	Parts    []PartReport    `json:"parts"`
}

// PartReport is an inspected part.
type PartReport struct {
	Part
	State  PartState     `json:"state"`
	Chunks []ChunkReport `json:"chunks"` // by index; none for an empty part
}

// ChunkState is what inspection found of a chunk.
type ChunkState string

// The values of ChunkState.
const (
	ChunkOK          ChunkState = "ok"          // every block was read and verified
	ChunkMissing     ChunkState = "missing"     // its node says it has no such chunk
	ChunkCorrupt     ChunkState = "corrupt"     // a checksum fails
	ChunkUnavailable ChunkState = "unavailable" // its node could not be asked
	ChunkNotWritten  ChunkState = "not-written" // was not durable when the part was committed, and is not there
)

// ChunkReport is an inspected chunk.
type ChunkReport struct {
	Index  int            `json:"index"`
	Slot   int            `json:"slot"`
	Store  layout.StoreID `json:"store"`
	Node   NodeRef        `json:"node"`
	State  ChunkState     `json:"state"`
	Detail string         `json:"detail,omitempty"` // the error behind a state other than ok
}
