package metadata

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"partstore/internal/layout"
)

// RowCounts says how many rows of each kind there are.
type RowCounts struct {
	Buckets  int `json:"buckets"`
	Settings int `json:"settings"` // documents and domains of buckets
	Users    int `json:"users"`
	Keys     int `json:"access_keys"`
	Uploads  int `json:"uploads"` // open ones
	Parts    int `json:"parts"`   // of open uploads and of objects
	Objects  int `json:"objects"`
	Garbage  int `json:"garbage"`  // entries of the garbage queue
	Members  int `json:"members"`  // nodes that registered
	Stores   int `json:"stores"`   // of those
	Groups   int `json:"groups"`   // placement groups
	Memory   int `json:"memory"`   // what is remembered of commands, until it expires
	Internal int `json:"internal"` // orders, queues and counters beside those
}

// add counts a row by its key.
func (n *RowCounts) add(key []byte) {
	at := &n.Internal
	switch key[0] {
	case rowBucket:
		at = &n.Buckets
	case rowSetting, rowDomain:
		at = &n.Settings
	case rowUser:
		at = &n.Users
	case rowAccess:
		at = &n.Keys
	case rowUpload:
		at = &n.Uploads
	case rowPart:
		at = &n.Parts
	case rowObject:
		at = &n.Objects
	case rowGarbage:
		at = &n.Garbage
	case rowMember:
		at = &n.Members
	case rowStore:
		at = &n.Stores
	case rowGroup:
		at = &n.Groups
	case rowAttempt, rowDone, rowRequest:
		at = &n.Memory
	}
	*at++
}

// BackupReport is what VerifyBackup found.
type BackupReport struct {
	BackupInfo
	Time     layout.RegistryTime
	Rows     RowCounts
	Problems []string // rows that contradict each other; at most maxProblems
}

const maxProblems = 100

// VerifyBackup reads a backup to its end, every row of it, and compares rows
// that must agree. It needs no registry, and memory for each upload and object.
// Damage is an error that wraps ErrDamaged; sound rows that contradict each
// other are Problems. progress hears of every row, counted from 1.
func VerifyBackup(r io.Reader, progress func(rows int)) (report BackupReport, err error) {
	if report.BackupInfo, err = readBackupHeader(r); err != nil {
		return report, err
	}
	check := newRowCheck(&report.Rows)
	rows := 0
	err = readBackupRows(r, func(key, value []byte) error {
		rows++
		progress(rows)
		return check.row(key, value)
	})
	if err != nil {
		return report, err
	}
	check.finish(report.Index)
	report.Time, report.Problems = check.meta.time, check.problems
	return report, nil
}

// rowCheck reads rows in key order and finds those that contradict each other.
type rowCheck struct {
	counts   *RowCounts
	problems []string

	meta      meta
	buckets   map[string]bool
	domains   []Domain
	lastEvent uint64
	users     map[string]bool
	said      map[string]Usage // what is said to be in buckets
	held      map[string]Usage // by the objects there are
	members   map[layout.NodeID]bool
	stores    map[layout.StoreID]bool
	groups    []layout.Group
	uploads   map[layout.UploadID]*uploadCheck
}

// uploadCheck is what names the part rows of an upload, and what they are.
type uploadCheck struct {
	listed  *UploadRef // its row in the order of open uploads, by bucket and key
	counted int        // parts by its row that counts them
	open    bool
	object  *Object // one that names them
	objects uint64  // that do
	names   uint64  // that are said to; 0: not said
	garbage bool
	parts   int
	bytes   int64

	rest []byte   // the key of the entry of the garbage queue for parts the object does not name
	left *Garbage // that entry
	more int      // parts it is about
}

func newRowCheck(counts *RowCounts) *rowCheck {
	return &rowCheck{
		counts: counts, buckets: map[string]bool{}, users: map[string]bool{}, said: map[string]Usage{}, held: map[string]Usage{}, members: map[layout.NodeID]bool{},
		stores: map[layout.StoreID]bool{}, uploads: map[layout.UploadID]*uploadCheck{},
	}
}

func (k *rowCheck) problem(format string, args ...any) {
	if len(k.problems) < maxProblems {
		k.problems = append(k.problems, fmt.Sprintf(format, args...))
	}
}

func (k *rowCheck) upload(id layout.UploadID) *uploadCheck {
	u := k.uploads[id]
	if u == nil {
		u = &uploadCheck{}
		k.uploads[id] = u
	}
	return u
}

// row takes the next row. An error means that it cannot be decoded.
func (k *rowCheck) row(key, value []byte) error {
	if len(key) == 0 {
		return fmt.Errorf("%w: row without a key", errMalformed)
	}
	k.counts.add(key)
	look, known := rowChecks[key[0]]
	if !known {
		return fmt.Errorf("%w: row %q is of no kind this binary knows", errMalformed, key)
	}
	if err := look(k, key[1:], value); err != nil {
		return fmt.Errorf("row %q: %w", key, err)
	}
	return nil
}

// rowChecks has a function for every kind of row, in the order they come.
var rowChecks = map[byte]func(k *rowCheck, key, value []byte) error{
	rowGroup:   (*rowCheck).group,
	rowAttempt: (*rowCheck).nothing,
	rowBucket: func(k *rowCheck, key, value []byte) error {
		var b Bucket
		k.buckets[string(key)] = true
		return decodeValue(value, b.code)
	},
	rowCount:   (*rowCheck).count,
	rowSetting: (*rowCheck).setting,
	rowDomain: func(k *rowCheck, key, value []byte) error {
		var d Domain
		err := decodeValue(value, d.code)
		if d.Name != string(key) {
			k.problem("domain %s is under another name", d.Name)
		}
		k.domains = append(k.domains, d)
		return err
	},
	rowUser: func(k *rowCheck, key, value []byte) error {
		var u User
		err := decodeValue(value, u.code)
		if k.users[u.ID] = true; u.ID != string(key) {
			k.problem("user %s is under another ID", u.ID)
		}
		return err
	},
	rowAccess: func(k *rowCheck, key, value []byte) error {
		var a AccessKey
		err := decodeValue(value, a.code)
		if a.ID != string(key) {
			k.problem("access key %s is under another ID", a.ID)
		}
		if !k.users[a.User] {
			k.problem("access key %s is of user %q, who is none", a.ID, a.User)
		}
		return err
	},
	rowDone:    func(_ *rowCheck, _, value []byte) error { return decodeValue(value, new(doneRow).code) },
	rowEvent:   (*rowCheck).event,
	rowGarbage: (*rowCheck).garbage,
	rowRepair:  func(_ *rowCheck, _, value []byte) error { return decodeValue(value, new(RepairPolicy).code) },
	rowListing: (*rowCheck).listing,
	rowMeta:    func(k *rowCheck, _, value []byte) error { return decodeValue(value, k.meta.code) },
	rowMember: func(k *rowCheck, _, value []byte) error {
		var m Member
		err := decodeValue(value, m.code)
		k.members[m.ID] = true
		return err
	},
	rowNames:   (*rowCheck).named,
	rowObject:  (*rowCheck).object,
	rowPart:    (*rowCheck).part,
	rowRest:    (*rowCheck).rest,
	rowRequest: func(_ *rowCheck, _, value []byte) error { return decodeValue(value, new(result).encode) },
	rowStore: func(k *rowCheck, _, value []byte) error {
		var s Store
		err := decodeValue(value, s.code)
		if k.stores[s.ID] = true; !k.members[s.Node] {
			k.problem("store %s is of node %s, which is none", s.ID, s.Node)
		}
		return err
	},
	rowUpload:  (*rowCheck).openUpload,
	rowUsage:   (*rowCheck).usage,
	rowWish:    (*rowCheck).wish,
	rowExpiry:  (*rowCheck).expiry,
	rowMoves:   (*rowCheck).moves,
	rowDuty:    func(_ *rowCheck, _, value []byte) error { return decodeValue(value, new(Duty).code) },
	rowServers: func(*rowCheck, []byte, []byte) error { return nil }, // Raft's own
}

func (k *rowCheck) nothing(_, value []byte) error {
	if len(value) != 0 {
		return fmt.Errorf("%w: a value of %d bytes", errMalformed, len(value))
	}
	return nil
}

func (k *rowCheck) group(_, value []byte) error {
	var g layout.Group
	err := decodeValue(value, func(c *coder) { codeGroup(&g, c) })
	if int(g.ID) != len(k.groups) {
		k.problem("group %d where %d should be", g.ID, len(k.groups))
	}
	k.groups = append(k.groups, g)
	return err
}

func (k *rowCheck) moves(key, value []byte) error {
	var moves []layout.Move
	err := decodeValue(value, codeMoves(&moves))
	if len(key) != 4 {
		return errMalformed
	}
	id := binary.BigEndian.Uint32(key)
	if int64(id) >= int64(len(k.groups)) || len(k.groups[id].Slots) != len(moves) {
		k.problem("%d slots of group %d changed hands; it has other slots", len(moves), id)
	}
	return err
}

func (k *rowCheck) count(key, value []byte) error {
	var id layout.UploadID
	if len(key) != len(id) {
		return errMalformed
	}
	copy(id[:], key)
	return decodeValue(value, codePartCount(&k.upload(id).counted))
}

func (k *rowCheck) setting(key, value []byte) error {
	bucket, setting, _ := bytes.Cut(key, []byte{0})
	if len(setting) == 0 || !k.buckets[string(bucket)] {
		k.problem("setting %q is of bucket %q, which is none", setting, bucket)
	}
	var document []byte
	return decodeValue(value, codeSetting(&document))
}

func (k *rowCheck) garbage(key, value []byte) error {
	var g Garbage
	err := decodeValue(value, g.code)
	switch g.extent() {
	case garbagePart:
		k.layout(g.Part)
	case garbageRest:
		u := k.upload(g.Upload)
		if u.left = &g; !bytes.Equal(u.rest, key) {
			k.problem("upload %s is said to have left parts elsewhere in the garbage queue", g.Upload)
		}
	default:
		k.upload(g.Upload).garbage = true
	}
	return err
}

func (k *rowCheck) rest(key, value []byte) error {
	var id layout.UploadID
	if len(key) != len(id) || len(value) != len(garbageKey(0, 0))-1 {
		return errMalformed
	}
	copy(id[:], key)
	k.upload(id).rest = bytes.Clone(value)
	return nil
}

func (k *rowCheck) listing(key, value []byte) error {
	bucket, rest, _ := bytes.Cut(key, []byte{0})
	name, ok := unescape(rest)
	if !ok {
		return errMalformed
	}
	var id layout.UploadID
	err := decodeValue(value, func(c *coder) { c.fixed(id[:]) })
	u := k.upload(id)
	if u.listed != nil {
		k.problem("upload %s is listed twice", id)
	}
	u.listed = &UploadRef{Bucket: string(bucket), Key: name, ID: id}
	return err
}

func (k *rowCheck) object(key, value []byte) error {
	var o Object
	err := decodeValue(value, o.code)
	if string(key) != string(objectKey(o.Bucket, o.Key)[1:]) {
		k.problem("object %q of bucket %q is under another key", o.Key, o.Bucket)
	}
	if !k.buckets[o.Bucket] {
		k.problem("object %q is in bucket %q, which is none", o.Key, o.Bucket)
	}
	u := k.upload(o.ID)
	if u.object != nil && (u.object.Parts != o.Parts || u.object.Size != o.Size) {
		k.problem("objects %q and %q are of one upload and differ", u.object.Key, o.Key)
	}
	u.objects++
	held := k.held[o.Bucket]
	k.held[o.Bucket] = Usage{held.Objects + 1, held.Bytes + o.Size}
	o.Headers = nil // not looked at again
	u.object = &o
	return err
}

func (k *rowCheck) named(key, value []byte) error {
	var id layout.UploadID
	if len(key) != len(id) {
		return errMalformed
	}
	copy(id[:], key)
	u := k.upload(id)
	err := decodeValue(value, func(c *coder) { c.uint(&u.names) })
	if u.names < 2 {
		k.problem("upload %s is said to be named by %d objects", id, u.names)
	}
	return err
}

func (k *rowCheck) part(key, value []byte) error {
	var id layout.UploadID
	var p Part
	if len(key) != len(id)+2 {
		return errMalformed
	}
	copy(id[:], key)
	err := decodeValue(value, p.code)
	if int(binary.BigEndian.Uint16(key[len(id):])) != int(p.Number) {
		k.problem("part %d of upload %s is under another number", p.Number, id)
	}
	k.layout(&p)
	u := k.upload(id)
	if u.left != nil && !u.left.Kept.Has(p.Number) {
		u.more++
		return err
	}
	u.parts++
	u.bytes += p.Size
	return err
}

// layout checks that a part's chunks are where chunks can be.
func (k *rowCheck) layout(p *Part) {
	l := &p.Layout
	switch {
	case l.Validate() != nil || !p.sizesAgree():
		k.problem("attempt %s: %v", l.Attempt, l.Validate())
	case len(l.Slots) > 0 && int64(l.Group) >= int64(len(k.groups)):
		k.problem("attempt %s is in group %d, which is none", l.Attempt, l.Group)
	default:
		for _, slot := range l.Slots {
			if int(slot) >= len(k.groups[l.Group].Slots) {
				k.problem("attempt %s is in slot %d of group %d, which is none", l.Attempt, slot, l.Group)
			}
		}
	}
}

func (k *rowCheck) openUpload(_, value []byte) error {
	var row uploadRow
	err := decodeValue(value, row.code)
	u := k.upload(row.ID)
	if u.open = true; u.listed == nil || *u.listed != row.UploadRef {
		k.problem("open upload %s is not listed as one of %q in bucket %q", row.ID, row.Key, row.Bucket)
	}
	if !k.buckets[row.Bucket] {
		k.problem("upload %s is in bucket %q, which is none", row.ID, row.Bucket)
	}
	return err
}

func (k *rowCheck) usage(key, value []byte) error {
	var u Usage
	err := decodeValue(value, u.code)
	k.said[string(key)] = u
	return err
}

func (k *rowCheck) wish(key, value []byte) error {
	if len(key) == 0 {
		var version uint64
		return decodeValue(value, func(c *coder) { c.uint(&version) })
	}
	var w Wish
	return decodeValue(value, w.code)
}

func (k *rowCheck) expiry(key, value []byte) error {
	if len(key) < 9 {
		return errMalformed
	}
	switch key[8] {
	case rowAttempt, rowDone, rowRequest:
	default:
		k.problem("row %q is to expire", key[8:])
	}
	return k.nothing(key, value)
}

// finish compares what had to wait for the last row.
func (k *rowCheck) finish(index uint64) {
	if k.meta.index != index {
		k.problem("the rows are those of log entry %d, the backup is of %d", k.meta.index, index)
	}
	for _, d := range k.domains {
		if !k.buckets[d.Bucket] {
			k.problem("domain %s is bound to bucket %q, which is none", d.Name, d.Bucket)
		}
	}
	for bucket := range k.buckets {
		if said, held := k.said[bucket], k.held[bucket]; said != held {
			k.problem("bucket %q has %d objects of %d bytes; it is said to have %d of %d", bucket, held.Objects, held.Bytes, said.Objects, said.Bytes)
		}
	}
	for bucket := range k.said {
		if !k.buckets[bucket] {
			k.problem("bucket %q is said to have objects, and is none", bucket)
		}
	}
	for _, g := range k.groups {
		for _, s := range g.Slots {
			if !k.stores[s] {
				k.problem("group %d has store %s, which is none", g.ID, s)
			}
		}
	}
	for id, u := range k.uploads {
		switch {
		case u.listed != nil && !u.open:
			k.problem("upload %s is listed and not open", id)
		case u.open && u.counted != u.parts, !u.open && u.counted != 0:
			k.problem("upload %s has %d parts by their count; there are %d, open: %t", id, u.counted, u.parts, u.open)
		case u.objects != u.names && (u.objects != 1 || u.names != 0):
			k.problem("upload %s is named by %d objects; %d are said to", id, u.objects, u.names)
		case u.rest != nil && (u.left == nil || u.object == nil), u.left != nil && u.left.left != u.more:
			k.problem("upload %s left parts to the garbage queue; there are %d, an object: %t", id, u.more, u.object != nil)
		case u.object != nil && (u.object.Parts != u.parts || u.object.Size != u.bytes):
			k.problem("object %q has %d parts of %d bytes in all; there are %d of %d", u.object.Key, u.object.Parts, u.object.Size, u.parts, u.bytes)
		case u.object != nil && (u.open || u.garbage), u.open && u.garbage:
			k.problem("upload %s is several of open, an object and garbage", id)
		case u.parts > 0 && !u.open && u.object == nil && !u.garbage:
			k.problem("%d parts of upload %s belong to nothing", u.parts, id)
		}
	}
}
