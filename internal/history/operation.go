// Package history records what clients did and what they were answered, and
// decides whether the answers can come from one store that does one thing at a
// time: whether the history is linearizable. model.go says what that store
// does; porcupine searches for an order of the operations that it explains.
//
// An operation whose outcome nobody knows may have had its effect at any time
// from its call on, or not at all. An answer, "not found" among them, is a fact
// that must be explained.
package history

import (
	"fmt"
	"math"
	"strings"
)

// Kind is what a client asked for.
type Kind uint8

// The kinds of operations.
const (
	Initiate Kind = iota + 1
	PutPart
	ListParts
	Complete
	Abort
	PutObject
	GetObject
	HeadObject
	DeleteObject
	FindUpload // is it open? Not asked over HTTP, where a list says more
)

var kindNames = [...]string{
	Initiate: "initiate", PutPart: "put part", ListParts: "list parts", Complete: "complete", Abort: "abort",
	PutObject: "put object", GetObject: "get object", HeadObject: "head object", DeleteObject: "delete object",
	FindUpload: "find upload",
}

func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Reads reports whether operations of this kind change nothing: if the answer
// is unknown, there is nothing to know.
func (k Kind) Reads() bool {
	return k == ListParts || k == GetObject || k == HeadObject || k == FindUpload
}

// Part is one part as it was sent, listed, asked for or read back. ETags are
// unique to a body, so they stand for the bytes.
type Part struct {
	Number int    `json:"number"`
	Size   int64  `json:"size"`
	ETag   string `json:"etag,omitempty"` // hex MD5; in a Complete, "" for not checked
}

// Input is what was asked.
type Input struct {
	Kind   Kind   `json:"kind"`
	Key    string `json:"key"`
	Upload string `json:"upload,omitempty"` // of the operations on an upload; Initiate answers it
	Parts  []Part `json:"parts,omitempty"`  // PutPart and PutObject: one; Complete: the list, sizes left out
}

// Outcome is what an answer says.
type Outcome uint8

// The outcomes.
const (
	Unknown  Outcome = iota // no answer, or one that admits to know nothing
	OK                      // done
	NotFound                // there was no such upload or object
	Refused                 // Complete: the parts cannot become an object
)

func (o Outcome) String() string { return [...]string{"unknown", "ok", "not found", "refused"}[o] }

// Output is what was answered.
type Output struct {
	Outcome Outcome `json:"outcome"`
	Upload  string  `json:"upload,omitempty"` // Initiate
	ETag    string  `json:"etag,omitempty"`   // of the part or object, without quotes
	Size    int64   `json:"size,omitempty"`   // HeadObject
	Parts   []Part  `json:"parts,omitempty"`  // ListParts: as listed; GetObject: as read, without numbers
}

// Operation is one call of one client. Times are nanoseconds of one monotonic
// clock.
type Operation struct {
	Client int    `json:"client"`
	Input  Input  `json:"input"`
	Output Output `json:"output"`
	Call   int64  `json:"call"`
	Return int64  `json:"return"` // Never if the outcome is unknown
}

// Never is the return of an operation that may yet take effect.
const Never = math.MaxInt64

func (o Operation) String() string {
	return describe(o.Input, o.Output)
}

func describe(in Input, out Output) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", in.Kind, in.Key)
	if in.Upload != "" {
		fmt.Fprintf(&b, " upload %s", short(in.Upload))
	}
	if len(in.Parts) > 0 {
		fmt.Fprintf(&b, " %s", describeParts(in.Parts))
	}
	fmt.Fprintf(&b, " -> %s", out.Outcome)
	if out.Upload != "" {
		fmt.Fprintf(&b, " upload %s", short(out.Upload))
	}
	if out.ETag != "" {
		fmt.Fprintf(&b, " ETag %s", short(out.ETag))
	}
	if out.Outcome == OK && (in.Kind == ListParts || in.Kind == GetObject) {
		fmt.Fprintf(&b, " %s", describeParts(out.Parts))
	}
	return b.String()
}

func describeParts(parts []Part) string {
	words := make([]string, len(parts))
	for i, p := range parts {
		words[i] = fmt.Sprintf("%d:%s", p.Number, short(p.ETag))
	}
	return "[" + strings.Join(words, " ") + "]"
}

// short is the end of an ID, which is enough to tell a few apart.
func short(id string) string { return id[max(0, len(id)-8):] }
