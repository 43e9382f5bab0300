package history

import (
	"encoding/json"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// Verdict is what a check found out.
type Verdict struct {
	// Linearizable is true if an order was found that explains every answer.
	Linearizable bool

	// Undecided is true if the time did not suffice to find one or to rule it
	// out.
	Undecided bool

	info porcupine.LinearizationInfo
}

// Check searches for orders of the operations that explain their answers, key
// by key, for about as long as timeout.
func Check(ops []Operation, timeout time.Duration) Verdict {
	var rest []porcupine.Operation
	for _, key := range byKey(operations(ops)) {
		if !explained(key, timeout/4) {
			rest = append(rest, key...)
		}
	}
	result, info := porcupine.CheckOperationsVerbose(model, rest, timeout)
	return Verdict{
		Linearizable: result == porcupine.Ok,
		Undecided:    result == porcupine.Unknown,
		info:         info,
	}
}

const (
	guesses   = 512
	guessTime = 100 * time.Millisecond
)

// explained searches for an order of one key's operations by guessing which of
// those without an answer had their effect; the others come last, where they
// explain nothing and contradict nothing. A search with all of them at any place
// takes time that doubles with each. Not to find an order this way proves nothing.
func explained(ops []porcupine.Operation, patience time.Duration) bool {
	var sure, doubtful []porcupine.Operation
	seen := seenETags(ops)
	for _, op := range ops {
		in := op.Input.(Input)
		switch {
		case op.Output.(Output).Outcome != Unknown:
			sure = append(sure, op)
		case in.Kind == PutPart || in.Kind == PutObject:
			if seen[in.Parts[0].ETag] { // ETags are unique, so it had its effect
				sure = append(sure, op)
			}
		default:
			doubtful = append(doubtful, op)
		}
	}
	begun := time.Now()
	for size := range len(doubtful) + 1 {
		tries := 0
		for chosen := range subsets(doubtful, size) {
			if tries++; tries > guesses || time.Since(begun) > patience {
				return false
			}
			guess := slices.Concat(sure, chosen)
			if porcupine.CheckOperationsTimeout(model, guess, guessTime) == porcupine.Ok {
				return true
			}
		}
	}
	return false
}

// seenETags are those that answers tell of parts and of objects put in one piece.
func seenETags(ops []porcupine.Operation) map[string]bool {
	seen := map[string]bool{}
	for _, op := range ops {
		if in, out := op.Input.(Input), op.Output.(Output); in.Kind.Reads() && out.Outcome == OK {
			seen[out.ETag] = true
			for _, p := range out.Parts {
				seen[p.ETag] = true
			}
		}
	}
	return seen
}

// subsets yields the subsets of a size. They are good until the next.
func subsets[T any](of []T, size int) iter.Seq[[]T] {
	return func(yield func([]T) bool) {
		chosen := make([]T, 0, size)
		var extend func(from int) bool
		extend = func(from int) bool {
			if len(chosen) == size {
				return yield(chosen)
			}
			for i := from; i <= len(of)-(size-len(chosen)); i++ {
				chosen = append(chosen, of[i])
				if !extend(i + 1) {
					return false
				}
				chosen = chosen[:len(chosen)-1]
			}
			return true
		}
		extend(0)
	}
}

// Save writes the operations to dir/name.json, and a picture of the search to
// dir/name.html.
func (v Verdict) Save(dir, name string, ops []Operation) error {
	text, err := json.MarshalIndent(ops, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, name+".json"), text, 0o600),
		porcupine.VisualizePath(model, v.info, filepath.Join(dir, name+".html")),
	)
}

// model is the state of one key, as porcupine wants it.
var model = porcupine.Model{
	Partition: byKey,
	Init:      func() any { return &state{} },
	Step: func(s, in, out any) (bool, any) {
		return s.(*state).step(in.(Input), out.(Output))
	},
	Equal:             func(s, t any) bool { return s.(*state).equal(t.(*state)) },
	DescribeOperation: func(in, out any) string { return describe(in.(Input), out.(Output)) },
	DescribeState:     func(s any) string { return s.(*state).String() },
}

func byKey(ops []porcupine.Operation) (parts [][]porcupine.Operation) {
	at := make(map[string]int)
	for _, op := range ops {
		key := op.Input.(Input).Key
		i, known := at[key]
		if !known {
			i = len(parts)
			at[key] = i
			parts = append(parts, nil)
		}
		parts[i] = append(parts[i], op)
	}
	return parts
}

func operations(ops []Operation) []porcupine.Operation {
	converted := make([]porcupine.Operation, len(ops))
	for i, op := range ops {
		converted[i] = porcupine.Operation{ClientId: op.Client, Input: op.Input, Output: op.Output, Call: op.Call, Return: op.Return}
	}
	return converted
}
