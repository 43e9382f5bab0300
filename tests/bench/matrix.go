package main

import "fmt"

// phase is a list of rows that share a cluster. It is a fresh one in every
// repeat: nothing frees the chunks of aborted uploads yet, and the drive must
// not fill.
type phase struct {
	name string
	tls  bool
	rows []row
}

// row is one run of partload.
type row struct {
	workload  string
	operation string // whose rate and latency the table shows
	partSize  string
	rangeSize string // of range
	parts     int    // of an upload or object
	objects   int
	clients   int
	parallel  int // parts under way in one upload
	trouble   trouble
}

// trouble is what happens to nodes during a row. They stay as they are, so such
// a row is the last of its phase.
type trouble struct {
	kind  string // "" for none
	nodes int    // how many
	// longer is by how much the row takes longer than others, so that what
	// follows the trouble is seen.
	longer int
}

const (
	stopped = "stopped" // SIGTERM once reading has begun
	frozen  = "frozen"  // SIGSTOP of a follower under load
	killed  = "killed"  // SIGKILL of a follower under load
)

// phases are what is measured.
func phases() []phase {
	put := func(size string, parts, clients int) row {
		return row{workload: "put", operation: "put_part", partSize: size, parts: parts, clients: clients}
	}
	puts := func(size string, parts int) phase {
		return phase{name: "put " + size, rows: []row{put(size, parts, 1), put(size, parts, 8), put(size, parts, 32)}}
	}
	// Objects of 256 MiB.
	get := func(clients int) row {
		return row{workload: "get", operation: "get", partSize: "16MiB", parts: 16, objects: 4, clients: clients}
	}
	ranges := func(size string) row {
		return row{workload: "range", operation: "get_range", partSize: "16MiB", rangeSize: size, parts: 16, objects: 4, clients: 8}
	}
	with := func(r row, kind string, nodes, longer int) []row {
		r.trouble = trouble{kind, nodes, longer}
		return []row{r}
	}
	return []phase{
		puts("64KiB", 1000),
		puts("1MiB", 200),
		puts("5MiB", 50),
		puts("16MiB", 20),
		puts("64MiB", 8),
		{name: "upload", rows: []row{{workload: "upload", operation: "upload", partSize: "8MiB", parts: 32, clients: 1, parallel: 4}}},
		{name: "get", rows: []row{get(1), get(4), get(8)}},
		{name: "range", rows: []row{ranges("64KiB"), ranges("1MiB")}},
		{name: "get, two nodes stopped", rows: with(get(4), stopped, 2, 1)},
		{name: "range, two nodes stopped", rows: with(ranges("1MiB"), stopped, 2, 1)},
		{name: "initiate-abort", rows: []row{{workload: "initiate-abort", operation: "initiate", partSize: "1B", parts: 1, clients: 32}}},
		{name: "list-parts", rows: []row{{workload: "list-parts", operation: "list_parts", partSize: "1KiB", parts: 10_000, clients: 1, parallel: 16}}},
		{name: "one node frozen", rows: with(put("1MiB", 200, 8), frozen, 1, 3)},
		{name: "one node killed", rows: with(put("1MiB", 200, 8), killed, 1, 3)},
		{name: "TLS, put", tls: true, rows: []row{put("64KiB", 1000, 32), put("5MiB", 50, 8)}},
		{name: "TLS, get", tls: true, rows: []row{get(4)}},
	}
}

// name tells the row from all others, and people what it is.
func (r row) name(tls bool) string {
	name := fmt.Sprintf("%s %s × %d", r.workload, r.partSize, r.clients)
	switch {
	case r.workload == "upload":
		name = fmt.Sprintf("upload %d × %s, %d in parallel", r.parts, r.partSize, r.parallel)
	case r.workload == "get":
		name = fmt.Sprintf("get 256MiB × %d", r.clients)
	case r.rangeSize != "":
		name = fmt.Sprintf("range %s × %d", r.rangeSize, r.clients)
	case r.workload == "initiate-abort":
		name = fmt.Sprintf("initiate and abort × %d", r.clients)
	case r.workload == "list-parts":
		name = fmt.Sprintf("list %d parts × %d", r.parts, r.clients)
	}
	if r.trouble.kind != "" {
		name += fmt.Sprintf(", %d %s", r.trouble.nodes, r.trouble.kind)
	}
	if tls {
		name += ", TLS"
	}
	return name
}
