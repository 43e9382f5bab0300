package history

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
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
// by key, for no longer than timeout.
func Check(ops []Operation, timeout time.Duration) Verdict {
	result, info := porcupine.CheckOperationsVerbose(model, operations(ops), timeout)
	return Verdict{
		Linearizable: result == porcupine.Ok,
		Undecided:    result == porcupine.Unknown,
		info:         info,
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
