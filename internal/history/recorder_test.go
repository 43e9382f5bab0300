package history

import "testing"

// What nobody answered may happen at any time; what nobody can see is left out.
func TestRecorderKeepsWhatMayHaveHappened(t *testing.T) {
	r := NewRecorder()
	c := r.Client()
	first := c.id

	c.Begin(Input{Kind: PutObject, Key: k, Parts: []Part{a1}}).End(stored(a1))
	c.Begin(onKey(GetObject)).End(lost)    // changed nothing
	c.Begin(onKey(Initiate)).End(lost)     // nobody knows the ID
	c.Begin(onKey(DeleteObject)).End(lost) // may have happened
	open := c.Begin(onKey(DeleteObject))

	ops := r.History()
	if len(ops) != 3 {
		t.Fatalf("history has %d operations, want 3: %v", len(ops), ops)
	}
	if put := ops[0]; put.Client != first || put.Return <= put.Call || put.Return == Never {
		t.Errorf("answered operation: %+v", put)
	}
	for _, op := range ops[1:] {
		if op.Return != Never || op.Output.Outcome != Unknown {
			t.Errorf("operation without an answer returned: %+v", op)
		}
	}
	if ops[1].Client == ops[2].Client {
		t.Error("a client goes on under its name although its operation has not ended")
	}
	open.End(done)
	if ops := r.History(); len(ops) != 3 || ops[2].Return == Never {
		t.Errorf("after the last answer: %v", ops)
	}
}
