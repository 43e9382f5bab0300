package peer_test

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails if goroutines outlive the tests, other than net/http's half
// second of patience with a connection that it has answered and shut.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}
