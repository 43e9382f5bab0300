package metadata

import (
	"errors"
	"fmt"
)

// errMalformed reports bytes that are no encoding of this package. It reaches
// callers only inside ErrInvalid or as the reason a node stopped.
var errMalformed = errors.New("malformed encoding")

// A result is what the state machine decided about one command. It crosses
// the wire as a code, so both ends agree on its meaning without reading text.
type result struct {
	code    resultCode
	payload []byte // what the command returns besides success; often nothing
}

type resultCode uint8

// Codes are part of the peer protocol and of rows, and must not change.
const (
	codeOK      resultCode = 0
	codeUnknown resultCode = 255 // the outcome is not known here: propose again
)

// resultErrors is the only place where codes and errors meet.
var resultErrors = []struct {
	code resultCode
	err  error
}{
	{1, ErrBucketNotFound},
	{2, ErrBucketExists},
	{3, ErrBucketNotEmpty},
	{4, ErrUploadNotFound},
	{5, ErrObjectNotFound},
	{6, ErrPartNotFound},
	{7, ErrPartMismatch},
	{8, ErrPartTooSmall},
	{9, ErrObjectTooLarge},
	{10, ErrAttemptFenced},
	{11, ErrGroupsExist},
	{12, ErrIncarnationStale},
	{13, ErrInvalid},
	{14, ErrMembersChanged},
	{15, ErrFull},
	{16, ErrObjectChanged},
	{17, ErrNotAppendable},
	{18, ErrPosition},

	{32, ErrUserNotFound},
	{33, ErrUserExists},
	{34, ErrUserInUse},
	{35, ErrKeyNotFound},
	{36, ErrKeyExists},
	{37, ErrKeyChanged},
	{38, ErrDomainTaken},
	{39, ErrTooManyDomains},

	{48, ErrDutyChanged},
	{49, ErrSlotChanged},
	{50, ErrSlotsMoved},
	{51, ErrPartChanged},
}

// refuse is the result of a command that changed nothing because of err, one
// of the errors above.
func refuse(err error) result {
	for _, row := range resultErrors {
		if row.err == err { //nolint:errorlint // identity of our own sentinels, not a chain
			return result{code: row.code}
		}
	}
	panic(fmt.Sprintf("metadata: refusal without a code: %v", err))
}

// err is the error a result stands for, or nil.
func (r result) err() error {
	if r.code == codeOK {
		return nil
	}
	for _, row := range resultErrors {
		if row.code == r.code {
			return row.err
		}
	}
	return fmt.Errorf("%w: result code %d", errMalformed, r.code)
}

func (r *result) encode(c *coder) {
	c.byte((*uint8)(&r.code))
	c.bytes(&r.payload, maxCommandSize)
}
