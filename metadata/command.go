package metadata

import (
	"crypto/sha256"
	"fmt"
	"time"

	"partstore/internal/layout"
)

// A command is one change to the registry. On the log and between nodes it is
//
//	offset  size  field
//	0       1     command version, 1
//	1       1     kind
//	2       ...   fields of the kind, in the order its code method visits them
//
// A node that meets a version or a kind it does not know must not guess: it
// would drift from its peers. It stops (see fsm.go).
type command interface {
	kind() commandKind
	code(*coder)
	apply(*machine) (result, error)
}

type commandKind uint8

// Kinds and version are part of the log format and must not change.
const (
	commandVersion = 1

	kindCreateBucket   commandKind = 1
	kindDeleteBucket   commandKind = 2
	kindCreateUpload   commandKind = 3
	kindCommitPart     commandKind = 4
	kindCompleteUpload commandKind = 5
	kindAbortUpload    commandKind = 6
	kindPutObject      commandKind = 7
	kindDeleteObject   commandKind = 8
	kindStartNode      commandKind = 9
	kindCreateGroups   commandKind = 10
	kindSetWishes      commandKind = 11
	kindTakeDigest     commandKind = 12
	kindCopyObject     commandKind = 13
	kindAppendObject   commandKind = 14

	kindCreateUser    commandKind = 32
	kindDeleteUser    commandKind = 33
	kindCreateKey     commandKind = 34
	kindChangeKey     commandKind = 35
	kindDeleteKey     commandKind = 36
	kindChangeSetting commandKind = 37
	kindBindDomain    commandKind = 38
	kindUnbindDomain  commandKind = 39
	kindExpireObject  commandKind = 40

	kindFreeGarbage   commandKind = 64
	kindRecordDurable commandKind = 65
	kindRecordEvents  commandKind = 66
	kindChangeRepair  commandKind = 67

	kindSetDuty    commandKind = 80
	kindMoveSlot   commandKind = 81
	kindSettleSlot commandKind = 82

	kindCompleteLeaving commandKind = 83

	kindWidenPart commandKind = 84
)

func newCommand(k commandKind) command {
	switch k {
	case kindCreateBucket:
		return &createBucket{}
	case kindDeleteBucket:
		return &deleteBucket{}
	case kindCreateUpload:
		return &createUpload{}
	case kindCommitPart:
		return &commitPart{}
	case kindCompleteUpload:
		return &completeUpload{byRow: true}
	case kindCompleteLeaving:
		return &completeUpload{}
	case kindAbortUpload:
		return &abortUpload{}
	case kindPutObject:
		return &putObject{}
	case kindDeleteObject:
		return &deleteObject{}
	case kindStartNode:
		return &startNode{}
	case kindCreateGroups:
		return &createGroups{}
	case kindSetWishes:
		return &setWishes{}
	case kindTakeDigest:
		return &takeDigest{}
	case kindCopyObject:
		return &copyObject{}
	case kindAppendObject:
		return &appendObject{}
	case kindCreateUser:
		return &createUser{}
	case kindDeleteUser:
		return &deleteUser{}
	case kindCreateKey:
		return &createKey{}
	case kindChangeKey:
		return &changeKey{}
	case kindDeleteKey:
		return &deleteKey{}
	case kindChangeSetting:
		return &changeSetting{}
	case kindBindDomain:
		return &bindDomain{}
	case kindUnbindDomain:
		return &unbindDomain{}
	case kindExpireObject:
		return &expireObject{}
	case kindFreeGarbage:
		return &freeGarbage{}
	case kindRecordDurable:
		return &recordDurable{}
	case kindRecordEvents:
		return &recordEvents{}
	case kindChangeRepair:
		return &changeRepair{}
	case kindSetDuty:
		return &setDuty{}
	case kindMoveSlot:
		return &moveSlot{}
	case kindSettleSlot:
		return &settleSlot{}
	case kindWidenPart:
		return &widenPart{}
	}
	return nil
}

// encodeCommand returns the command's bytes. Values that no node would accept
// are refused here, with ErrInvalid.
func encodeCommand(cmd command) ([]byte, error) {
	c := &coder{buf: []byte{commandVersion, byte(cmd.kind())}}
	cmd.code(c)
	if c.err == nil && len(c.buf) > maxCommandSize {
		c.fail("command of %d bytes", len(c.buf))
	}
	if c.err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, c.err)
	}
	return c.buf, nil
}

func decodeCommand(b []byte) (command, error) {
	if len(b) < 2 || len(b) > maxCommandSize {
		return nil, fmt.Errorf("%w: command of %d bytes", errMalformed, len(b))
	}
	if b[0] != commandVersion {
		return nil, fmt.Errorf("%w: command version %d; this binary reads %d", errMalformed, b[0], commandVersion)
	}
	cmd := newCommand(commandKind(b[1]))
	if cmd == nil {
		return nil, fmt.Errorf("%w: command kind %d is unknown", errMalformed, b[1])
	}
	if err := decodeValue(b[2:], cmd.code); err != nil {
		return nil, fmt.Errorf("command kind %d: %w", b[1], err)
	}
	return cmd, nil
}

type createBucket struct {
	Request layout.RequestID
	Bucket  Bucket
}

func (*createBucket) kind() commandKind { return kindCreateBucket }
func (x *createBucket) code(c *coder) {
	c.fixed(x.Request[:])
	x.Bucket.code(c)
}

type deleteBucket struct {
	Request layout.RequestID
	Name    string
}

func (*deleteBucket) kind() commandKind { return kindDeleteBucket }
func (x *deleteBucket) code(c *coder) {
	c.fixed(x.Request[:])
	c.string(&x.Name, maxNameSize)
}

type createUpload struct{ Upload Upload }

func (*createUpload) kind() commandKind { return kindCreateUpload }
func (x *createUpload) code(c *coder)   { x.Upload.code(c) }

// commitPart names bucket and key by digest, so that the most frequent command
// stays small however long the key is.
type commitPart struct {
	Upload layout.UploadID
	Key    keyDigest
	Part   Part
}

func (*commitPart) kind() commandKind { return kindCommitPart }
func (x *commitPart) code(c *coder) {
	c.fixed(x.Upload[:])
	c.fixed(x.Key[:])
	x.Part.code(c)
}

// keyDigest stands for a bucket and a key.
type keyDigest [16]byte

func digestKey(bucket, key string) keyDigest {
	b := make([]byte, 0, len(bucket)+1+len(key))
	b = append(b, bucket...) // no bucket name contains a zero byte
	b = append(b, 0)
	b = append(b, key...)
	sum := sha256.Sum256(b)
	return keyDigest(sum[:16])
}

type completeUpload struct {
	Request layout.RequestID // of one call; the client's next try is another
	CompleteUpload

	// byRow is for logs of earlier binaries: what was not named became garbage row
	// by row, which held up what came after it. Both take the same parts.
	byRow bool
}

func (x *completeUpload) kind() commandKind {
	if x.byRow {
		return kindCompleteUpload
	}
	return kindCompleteLeaving
}

func (x *completeUpload) code(c *coder) {
	c.fixed(x.Request[:])
	c.time(&x.Modified)
	x.codeWish(c)
}

// codeWish codes everything but the time: a client that repeats its Complete
// later asks for the same.
func (x *completeUpload) codeWish(c *coder) {
	x.UploadRef.code(c)
	codeList(c, &x.Parts, maxParts, (*CompletePart).code)
	c.string(&x.ETag, maxNameSize)
	c.headers(&x.Headers)
}

func (p *CompletePart) code(c *coder) {
	codeUint(c, &p.Number, layout.MaxPartNumber)
	checked := p.ETag != nil
	c.bool(&checked)
	if !checked {
		return
	}
	if c.decoding {
		p.ETag = &ETag{}
	}
	c.fixed(p.ETag[:])
}

type abortUpload struct{ Ref UploadRef }

func (*abortUpload) kind() commandKind { return kindAbortUpload }
func (x *abortUpload) code(c *coder)   { x.Ref.code(c) }

type putObject struct{ PutObject }

func (*putObject) kind() commandKind { return kindPutObject }
func (x *putObject) code(c *coder) {
	c.string(&x.Bucket, maxNameSize)
	c.string(&x.Key, maxKeySize)
	c.fixed(x.ID[:])
	x.Part.code(c)
	c.headers(&x.Headers)
}

type deleteObject struct {
	Request layout.RequestID
	Bucket  string
	Key     string
}

func (*deleteObject) kind() commandKind { return kindDeleteObject }
func (x *deleteObject) code(c *coder) {
	c.fixed(x.Request[:])
	c.string(&x.Bucket, maxNameSize)
	c.string(&x.Key, maxKeySize)
}

// expireObject deletes an object if it is still the one that was seen.
type expireObject struct {
	Request layout.RequestID
	From    objectVersion
}

func (*expireObject) kind() commandKind { return kindExpireObject }
func (x *expireObject) code(c *coder) {
	c.fixed(x.Request[:])
	x.From.code(c)
}

// copyObject gives what another object's row names one more name, or another.
type copyObject struct {
	Request  layout.RequestID
	From     objectVersion
	Bucket   string
	Key      string
	Headers  Headers
	Modified time.Time
	Move     bool // the source goes
}

// objectVersion is an object as somebody has seen it: Version is a digest of
// the row.
type objectVersion struct {
	Bucket  string
	Key     string
	Version [16]byte
}

func versionOf(o Object) (v objectVersion, err error) {
	v = objectVersion{Bucket: o.Bucket, Key: o.Key}
	v.Version, err = digest16(o.code)
	return v, err
}

func (*copyObject) kind() commandKind { return kindCopyObject }
func (x *copyObject) code(c *coder) {
	c.fixed(x.Request[:])
	x.From.code(c)
	c.string(&x.Bucket, maxNameSize)
	c.string(&x.Key, maxKeySize)
	c.headers(&x.Headers)
	c.time(&x.Modified)
	c.bool(&x.Move)
}

func (v *objectVersion) code(c *coder) {
	c.string(&v.Bucket, maxNameSize)
	c.string(&v.Key, maxKeySize)
	c.fixed(v.Version[:])
}

type appendObject struct {
	Request layout.RequestID
	AppendObject
}

func (*appendObject) kind() commandKind { return kindAppendObject }
func (x *appendObject) code(c *coder) {
	c.fixed(x.Request[:])
	c.string(&x.Bucket, maxNameSize)
	c.string(&x.Key, maxKeySize)
	c.bool(&x.Create)
	c.fixed(x.ID[:])
	c.size(&x.Position)
	x.Part.code(c)
	c.headers(&x.Headers)
}

type startNode struct{ StartNode }

func (*startNode) kind() commandKind { return kindStartNode }
func (x *startNode) code(c *coder) {
	c.fixed(x.Request[:])
	c.fixed(x.Node[:])
	c.string(&x.Name, maxNameSize)
	c.string(&x.Zone, maxNameSize)
	codeList(c, &x.Stores, maxStores, (*Store).code)
}

type createGroups struct {
	Request layout.RequestID
	Scheme  layout.Scheme
	Groups  []layout.Group
}

func (*createGroups) kind() commandKind { return kindCreateGroups }
func (x *createGroups) code(c *coder) {
	c.fixed(x.Request[:])
	codeScheme(c, &x.Scheme)
	codeList(c, &x.Groups, maxGroups, codeGroup)
}

// setWishes records what operators want of members, if Version is current.
type setWishes struct {
	Request layout.RequestID
	Version uint64
	Wishes  []memberWish
}

func (*setWishes) kind() commandKind { return kindSetWishes }
func (x *setWishes) code(c *coder) {
	c.fixed(x.Request[:])
	c.uint(&x.Version)
	codeList(c, &x.Wishes, maxWishes, (*memberWish).code)
}
