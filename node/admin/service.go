package admin

import (
	"context"
	"io"

	"partstore/internal/layout"
	"partstore/metadata"
)

// Service is what the node provides. Its errors wrap the sentinels of metadata
// or of this package; errors.go maps them to the wire.
type Service interface {
	// Status describes the cluster as this node sees it. It answers without
	// a leader too: that is when it is needed most. The caller sets Health
	// and Reasons; implementations leave them empty.
	Status(ctx context.Context) (Status, error)

	// Nodes lists the nodes this node knows, by name.
	Nodes(ctx context.Context) ([]Node, error)

	// DecideStore records an operator's decision about a store, or only says
	// what would follow. One that would not hold is an error wrapping ErrMargin.
	DecideStore(ctx context.Context, d StoreDecision) (StorePlan, error)

	// JudgeStop says what would be if nodes were stopped together. A node that
	// is not known is an error wrapping ErrNotFound.
	JudgeStop(ctx context.Context, nodes []layout.NodeID) (StopVerdict, error)

	// Members lists the members of the registry.
	Members(ctx context.Context) (MemberList, error)

	// ChangeMembers records an operator's decision; the cluster follows it
	// afterwards. Errors are those of metadata.Raft.ChangeMembers.
	ChangeMembers(ctx context.Context, c metadata.MembersChange) error

	// Users lists the users of the client API.
	Users(ctx context.Context) ([]User, error)

	// CreateUser makes a user; an empty ID has the service choose one.
	CreateUser(ctx context.Context, id, name string) (User, error)

	// DeleteUser ends a user; one who has keys or buckets is an error wrapping
	// metadata.ErrUserInUse.
	DeleteUser(ctx context.Context, id string) error

	// Keys lists the access keys of all users.
	Keys(ctx context.Context) ([]Key, error)

	// CreateKey makes an access key of a user. Its secret is told here and
	// never again.
	CreateKey(ctx context.Context, user string) (NewKey, error)

	// SetKey disables or enables an access key.
	SetKey(ctx context.Context, id string, disabled bool) error

	// DeleteKey ends an access key for good.
	DeleteKey(ctx context.Context, id string) error

	// ResealKeys seals every key anew that the first sealing key of the node
	// did not seal, and returns how many there were.
	ResealKeys(ctx context.Context) (int, error)

	// Uploads lists open uploads by bucket, key and creation.
	Uploads(ctx context.Context, q UploadQuery) (UploadList, error)

	// Upload describes one open upload with all its parts.
	Upload(ctx context.Context, ref metadata.UploadRef) (UploadDetail, error)

	// AbortUpload ends an open upload; one that is not open is an error
	// wrapping metadata.ErrUploadNotFound.
	AbortUpload(ctx context.Context, ref metadata.UploadRef) error

	// InspectObject reads every chunk of an object in full and reports what
	// it found. The caller sets the State of parts and object;
	// implementations leave them empty.
	InspectObject(ctx context.Context, bucket, key string) (ObjectReport, error)

	// Garbage says what waits to be freed. The answer is as old as this node's
	// copy of the registry.
	Garbage(ctx context.Context) (GarbageStatus, error)

	// SweepGarbage has the leader free what is due.
	SweepGarbage(ctx context.Context) (GarbageSwept, error)

	// RunScrub has the node of a store begin to read it in full now; one that does so
	// goes on. A store that is not known is an error wrapping ErrNotFound, and one
	// whose node cannot be asked ErrUnavailable.
	RunScrub(ctx context.Context, store layout.StoreID) error

	// Events returns the last events, at most limit, oldest first. The answer is
	// as old as this node's copy of the registry.
	Events(ctx context.Context, limit int) ([]Event, error)

	// Repair says what operators want of healing.
	Repair(ctx context.Context) (RepairPolicy, error)

	// ChangeRepair records what an operator wants of healing; every node
	// follows.
	ChangeRepair(ctx context.Context, verb metadata.RepairVerb, limit uint64) error

	// RegistryCapacity counts the rows of this node's copy of the registry.
	RegistryCapacity(ctx context.Context) (RegistryCapacity, error)

	// RegistryBackup writes a backup of the registry. An error before the
	// first byte is answered, one after it cuts the answer off.
	RegistryBackup(ctx context.Context, w io.Writer) error

	// Ready returns nil if the node can serve: a leader is known, a read index
	// was obtained, the node's own store takes writes, and groups exist. The
	// error says which of these fails.
	Ready(ctx context.Context) error
}
