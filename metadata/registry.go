package metadata

import (
	"context"
	"errors"
	"fmt"
	"time"

	"partstore/internal/layout"
)

// Errors of a Registry. Each "not found" is a fact about the cluster: at some
// instant between call and return the thing was absent. ErrUnavailable is the
// opposite, the admission that this node could not find out.
var (
	ErrBucketNotFound   = errors.New("bucket not found")
	ErrBucketExists     = errors.New("bucket exists")
	ErrBucketNotEmpty   = errors.New("bucket not empty")
	ErrUploadNotFound   = errors.New("upload not found")
	ErrObjectNotFound   = errors.New("object not found")
	ErrObjectChanged    = errors.New("object changed")    // CopyObject: the source is not what it was when it was read
	ErrPartChanged      = errors.New("part changed")      // Widen: its record is not what it was when it was read
	ErrPartNotFound     = errors.New("part not found")    // Complete names a part that was never committed
	ErrPartMismatch     = errors.New("part ETag differs") // Complete names a part by another ETag than it has
	ErrPartTooSmall     = errors.New("part too small")    // Complete: a part other than the last is below MinPartSize
	ErrNotAppendable    = errors.New("object is not appendable")
	ErrPosition         = errors.New("position is not the end") // AppendObject: the object has another size, or is another
	ErrObjectTooLarge   = errors.New("object too large")        // Complete, AppendObject: sum of sizes above MaxObjectSize
	ErrAttemptFenced    = errors.New("attempt fenced")          // CommitPart/PutObject: old incarnation or too old
	ErrGroupsExist      = errors.New("groups exist")            // CreateGroups: somebody else was first
	ErrIncarnationStale = errors.New("incarnation is stale")    // StartNode gave the node a newer one since
	ErrUserNotFound     = errors.New("user not found")
	ErrUserExists       = errors.New("user exists")
	ErrUserInUse        = errors.New("user has access keys or buckets")
	ErrKeyNotFound      = errors.New("access key not found")
	ErrKeyExists        = errors.New("access key exists")
	ErrKeyChanged       = errors.New("access key changed meanwhile")
	ErrDomainTaken      = errors.New("domain is bound to another bucket")
	ErrTooManyDomains   = errors.New("bucket has too many domains")
	ErrDutyChanged      = errors.New("duty of the store changed meanwhile")
	ErrSlotChanged      = errors.New("slot of the group changed meanwhile")
	ErrSlotsMoved       = errors.New("slots of the attempt changed hands") // CommitPart and the like: too few of its chunks are where they belong by now
	ErrMembersChanged   = errors.New("membership changed meanwhile")
	ErrMembersUnsafe    = errors.New("unsafe change of membership")
	ErrRemoved          = errors.New("node was removed by an operator")
	ErrUnavailable      = errors.New("registry unavailable")        // no leader, no quorum or no time; nothing is known
	ErrFull             = fmt.Errorf("%w: no room", ErrUnavailable) // nothing may be added; deletes and aborts go on
	ErrInvalid          = errors.New("invalid registry command")    // a caller's bug: the command was refused
)

// Limits of the multipart family (QingStor, Multipart, limits).
const (
	MinPartSize   = 4 << 20  // bytes; every part of a completed upload but the last
	MaxPartSize   = 5 << 30  // bytes; also of an object put in one piece
	MaxObjectSize = 50 << 40 // bytes
)

// ETag is the MD5 of a payload.
type ETag [16]byte

// Bucket is a named set of objects and uploads.
type Bucket struct {
	Name    string
	Owner   string // user ID of the creator
	Created time.Time
}

// Usage is how much there is in a bucket. Unfinished uploads do not count.
type Usage struct {
	Objects int64
	Bytes   int64
}

// Headers are what a client gave to be kept with an object, as it gave them.
// Names are lower case.
type Headers map[string]string

// UploadRef names an upload the way the wire does. The three must agree: the
// ID of an upload of another key is an unknown upload.
type UploadRef struct {
	Bucket string
	Key    string
	ID     layout.UploadID
}

// Upload is a multipart upload in progress.
type Upload struct {
	UploadRef
	Created time.Time
	Headers Headers
}

// Part is a part record: a committed attempt.
type Part struct {
	Number   layout.PartNumber
	Size     int64
	ETag     ETag
	Modified time.Time // wall clock of the coordinator at commit; decides nothing
	Layout   layout.Layout
	Salt     Salt // of a sealed part, else zero
}

// Salt makes the key of a sealed part different from that of any other.
type Salt [32]byte

// Sealed reports whether the chunks hold a sealed form of the payload. It is
// longer than the payload.
func (p *Part) Sealed() bool { return p.Layout.Size != p.Size }

// Object is a completed upload, or a payload put in one piece.
type Object struct {
	Bucket   string
	Key      string
	ID       layout.UploadID // the upload it came from; names its part records
	Size     int64
	ETag     string // without quotes: hex MD5, "md5-n", or what the client gave to Complete
	Parts    int    // number of part records
	Modified time.Time
	Headers  Headers
	// Appendable objects grow at their end. Each append is a part record, and
	// no other object names them.
	Appendable bool
}

// CompletePart names one part in CompleteUpload, in ascending order.
type CompletePart struct {
	Number layout.PartNumber
	ETag   *ETag // nil: not checked
}

// CompleteUpload asks for the end of an upload and the birth of its object.
type CompleteUpload struct {
	UploadRef
	Parts    []CompletePart // strictly ascending, at least one
	ETag     string         // becomes the object's ETag if not empty; not verified
	Headers  Headers        // override or extend those of the upload; may be nil
	Modified time.Time
}

// PutObject creates or replaces an object from one committed payload. ID is
// fresh for every call of the client, and names the command.
type PutObject struct {
	Bucket  string
	Key     string
	ID      layout.UploadID
	Part    Part // Number is ignored
	Headers Headers
}

// AppendObject extends an appendable object by one committed payload, or
// creates it.
type AppendObject struct {
	Bucket   string
	Key      string
	Create   bool            // there is none yet
	ID       layout.UploadID // of the object; fresh for one that is created
	Position int64           // the size of the object
	Part     Part            // Number is the number of part records the object has
	Headers  Headers         // of an object that is created
}

// CopyObject asks for another object of the same payload, which takes no room,
// or for other headers of the same object.
type CopyObject struct {
	Source   Object // as it was read; not appendable, unless it is moved
	Bucket   string
	Key      string
	Headers  Headers // of the copy
	Modified time.Time
	Move     bool // the source ends in the same instant
}

// ListQuery selects keys the way both listings do. Limit counts keys and
// common prefixes together.
type ListQuery struct {
	Prefix    string
	Delimiter string
	Marker    string // only keys and prefixes after it; inside a prefix group it skips the group
	Limit     int
}

// ObjectPage is one page of a listing, in byte order of keys and prefixes.
type ObjectPage struct {
	Objects        []Object
	CommonPrefixes []string
	Next           string // last key or prefix of the page; "" when nothing follows
}

// UploadPage is one page of uploads, by key, then creation order.
type UploadPage struct {
	Uploads        []Upload
	CommonPrefixes []string
	NextKey        string // last key or prefix of the page; "" when nothing follows
	NextID         string // last upload ID of the page, "" at the end or if the page ends in a prefix
}

// PartPage is one page of the parts of an upload, by number.
type PartPage struct {
	Parts []Part
	Total int // parts of the upload, not of the page
}

// Store is a registered store.
type Store struct {
	ID   layout.StoreID
	Node layout.NodeID
	Zone string
	// CapacityBytes as the node reported it when it registered.
	CapacityBytes int64
}

// Member is a node the registry knows.
type Member struct {
	ID          layout.NodeID
	Name        string
	Zone        string
	Incarnation layout.Incarnation // of its latest start
}

// Topology is what the registry knows of nodes, stores and groups.
type Topology struct {
	Cluster layout.ClusterID
	Scheme  layout.Scheme // zero until groups exist
	Members []Member      // by ID
	Stores  []Store       // by ID
	Groups  []layout.Group
	Duties  []Duty // by store; of those without one the duty is to be in
}

// StartNode registers one start of a node and asks for its incarnation.
type StartNode struct {
	Request layout.RequestID
	Node    layout.NodeID
	Name    string
	Zone    string
	Stores  []Store // Node and Zone are those of the node
}

// Registry is the replicated record of buckets, uploads, parts and objects.
// Every method is linearizable on every node unless it says otherwise: its
// effect or answer lies at one instant between call and return. Methods wait
// out elections until ctx ends or the configured deadline (default 5 s) passes,
// then return an error wrapping ErrUnavailable; a write that ends so may still
// take effect.
type Registry interface {
	CreateBucket(ctx context.Context, b Bucket) error
	DeleteBucket(ctx context.Context, name string) error
	Bucket(ctx context.Context, name string) (Bucket, error)
	// BucketRights finds a bucket and who may do what in it. A positive answer
	// may be as old as RightsAge, a negative one is a fact.
	BucketRights(ctx context.Context, name string) (BucketRights, error)
	// Usage returns how much a bucket holds.
	Usage(ctx context.Context, bucket string) (Usage, error)
	// Buckets returns the owner's buckets by name, or everybody's if owner is
	// empty, skipping offset, and the number there are in all.
	Buckets(ctx context.Context, owner string, offset, limit int) ([]Bucket, int, error)

	// ChangeSetting sets a document of a bucket, or removes it if it is empty.
	ChangeSetting(ctx context.Context, bucket string, s Setting, document []byte) error
	// Setting returns a document of a bucket, nil if it is not set.
	Setting(ctx context.Context, bucket string, s Setting) ([]byte, error)
	// BucketsWith returns the documents of all buckets that have this one.
	BucketsWith(ctx context.Context, s Setting) (map[string][]byte, error)
	// BindDomain gives a domain to a bucket, unless another has it.
	BindDomain(ctx context.Context, d Domain) error
	// UnbindDomain takes a domain from a bucket; it succeeds if the bucket does
	// not have it.
	UnbindDomain(ctx context.Context, bucket, name string) error
	// Domains returns the domains of a bucket, by name.
	Domains(ctx context.Context, bucket string) ([]Domain, error)
	// DomainBucket returns the bucket a domain was bound to at some instant up
	// to RightsAge ago, "" if to none.
	DomainBucket(ctx context.Context, name string) (bucket string, err error)

	// CreateUser makes a user.
	CreateUser(ctx context.Context, u User) error
	// DeleteUser ends a user who has neither keys nor buckets.
	DeleteUser(ctx context.Context, id string) error
	Users(ctx context.Context) ([]User, error)
	// CreateKey makes an access key of a user.
	CreateKey(ctx context.Context, k AccessKey) error
	// ChangeKey replaces a key if it is still what it was.
	ChangeKey(ctx context.Context, was, k AccessKey) error
	DeleteKey(ctx context.Context, id string) error
	Keys(ctx context.Context) ([]AccessKey, error)
	// Key finds an access key. A positive answer may be as old as RightsAge, a
	// negative one is a fact.
	Key(ctx context.Context, id string) (AccessKey, error)

	// CreateUpload opens an upload under the fresh ID in u.
	CreateUpload(ctx context.Context, u Upload) error
	// Upload finds an open upload.
	Upload(ctx context.Context, ref UploadRef) (Upload, error)
	// UploadOpen is a cheaper Upload for callers whose next step decides
	// again: a positive answer may be as old as this node's copy, a negative
	// one is a fact.
	UploadOpen(ctx context.Context, ref UploadRef) (Upload, error)
	// Uploads lists open uploads. afterID continues inside the key q.Marker.
	Uploads(ctx context.Context, bucket string, q ListQuery, afterID string) (UploadPage, error)
	// CommitPart makes p exist as part p.Number of the upload. It replaces an
	// earlier part of that number; the attempt in p.Layout names the command.
	CommitPart(ctx context.Context, ref UploadRef, p Part) error
	// Parts lists the parts of an open upload with numbers above after
	// (-1: from the lowest).
	Parts(ctx context.Context, ref UploadRef, after, limit int) (PartPage, error)
	CompleteUpload(ctx context.Context, c CompleteUpload) (Object, error)
	// AbortUpload ends an upload. It succeeds whether or not the upload exists;
	// only a missing bucket is an error.
	AbortUpload(ctx context.Context, ref UploadRef) error

	PutObject(ctx context.Context, p PutObject) (Object, error)
	// AppendObject returns the object as it is afterwards.
	AppendObject(ctx context.Context, a AppendObject) (Object, error)
	// CopyObject creates or replaces an object from another one.
	CopyObject(ctx context.Context, c CopyObject) (Object, error)
	Object(ctx context.Context, bucket, key string) (Object, error)
	// ObjectParts returns an object together with its part records in order,
	// both of one instant. It is what a reader needs.
	ObjectParts(ctx context.Context, bucket, key string) (Object, []Part, error)
	Objects(ctx context.Context, bucket string, q ListQuery) (ObjectPage, error)
	// DeleteObject removes an object; it succeeds if there is none.
	DeleteObject(ctx context.Context, bucket, key string) error
	// ExpireObject removes the object if it is still the one given, else it
	// returns ErrObjectNotFound.
	ExpireObject(ctx context.Context, o Object) error

	// StartNode gives the node a new incarnation and fences all attempts of
	// its earlier ones.
	StartNode(ctx context.Context, s StartNode) (layout.Incarnation, error)
	// CreateGroups records the scheme and the groups of a new cluster, once.
	CreateGroups(ctx context.Context, scheme layout.Scheme, groups []layout.Group) error
	// Topology is linearizable like every read.
	Topology(ctx context.Context) (Topology, error)
}
