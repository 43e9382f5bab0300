package qingstor

import (
	"errors"
	"net/http"
	"runtime"
	"strings"
	"testing"
)

// What may be allocated besides: for every input, and for the items of the
// lists that a body may have, however small they are in it.
const (
	frugalBase     = 64 << 10
	frugalSettings = 1 << 20
	frugalComplete = 3 << 20
	frugalDelete   = 256 << 10
)

// frugal holds what reading an input may allocate in all: 8 times its size, and
// so much besides.
func frugal(t *testing.T, input, besides int, read func()) {
	t.Helper()
	limit := 8*uint64(input) + uint64(besides)
	var got uint64
	for range 5 { // others in the process allocate too
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		read()
		runtime.ReadMemStats(&after)
		if got = after.TotalAlloc - before.TotalAlloc; got <= limit {
			return
		}
	}
	t.Errorf("%d bytes allocated for an input of %d", got, input)
}

// Lists of as many items as fit into a body are refused before anything is made
// of them.
func TestLongListsCostNothing(t *testing.T) {
	list := func(open string, size int) []byte {
		return []byte(open + strings.Repeat("{},", size/3) + "{}]}")
	}
	text := list(`{"object_parts":[`, maxCompleteBody-100)
	frugal(t, len(text), frugalComplete, func() {
		if _, err := parseComplete(text); !errors.Is(err, errInvalidRequest) {
			t.Errorf("complete: %v", err)
		}
	})
	c := &call{handler: &handler{}}
	for name, open := range map[string]string{
		"acl": `{"acl":[`, "cors": `{"cors_rules":[`, "policy": `{"statement":[`, "lifecycle": `{"rule":[`, "notification": `{"notifications":[`, "replication": `{"rules":[`,
	} {
		text := list(open, maxSettingBody-100)
		frugal(t, len(text), frugalSettings, func() {
			if _, err := settings[name].check(c, text); !errors.Is(err, errInvalidRequest) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// A signature is compared with every string a client may have signed, and still
// costs no more than a few times the request.
func TestSignaturesCostLittle(t *testing.T) {
	value := strings.Repeat("v", 20_000)
	s := signable{
		method: "GET", header: http.Header{"X-Qs-Meta-A": {value}, "X-Qs-Meta-B": {value}},
		addr:  address{level: bucketLevel, bucket: testBucket, path: "/my%62ucket"},
		query: query{{"uploads", "", "uploads"}, {"response-expires", " a b ", "response-expires=%20a%20b%20"}},
	}
	frugal(t, 2*len(value), frugalBase, func() {
		if s.signedBy(testSecret, nil) {
			t.Error("no signature is one")
		}
	})
}

func TestLongestList(t *testing.T) {
	for text, want := range map[string]int{
		"": 0, "[]": 0, "[1]": 0, "[1,2]": 2, `{"a":[1,2,3],"b":[{"c":4,"d":5},6]}`: 3, `["a,b\\",",\",",[[],[]]]`: 3,
		`{"a":1,"b":2}`: 0, "]],,": 0, strings.Repeat("[", 20_000) + "1,2": 0,
	} {
		if got := longestList([]byte(text)); got != want {
			t.Errorf("longestList(%.40q) = %d, want %d", text, got, want)
		}
	}
}
