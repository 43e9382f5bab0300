package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// microPackages have benchmarks of what a part goes through: checksums and the
// drive, coding, the wire.
var microPackages = []string{"./chunkstore", "./node/erasure", "./node/peer"}

// microTime is how long each runs, for each repeat.
const microTime = "200ms"

// micro is one run of one of Go's benchmarks.
type micro struct {
	Package string             `json:"package"`
	Name    string             `json:"name"`
	Values  map[string]float64 `json:"values"` // by unit
}

// runMicro runs Go's benchmarks unless these results have them.
func runMicro(ctx context.Context, o options, res *results) error {
	if res.micro() != nil {
		return nil
	}
	args := append([]string{"test", "-run", "^$", "-bench", ".", "-benchtime", microTime, "-count", strconv.Itoa(o.repeats)}, microPackages...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return res.add(record{Micro: parseMicro(out)})
}

// parseMicro reads the output of go test -bench.
func parseMicro(out []byte) (list []micro) {
	pkg := ""
	for line := range bytes.Lines(out) {
		f := strings.Fields(string(line))
		switch {
		case len(f) == 2 && f[0] == "pkg:":
			pkg = f[1]
		case len(f) >= 4 && strings.HasPrefix(f[0], "Benchmark"):
			m := micro{pkg, strings.TrimPrefix(f[0], "Benchmark"), map[string]float64{}}
			if i := strings.LastIndexByte(m.Name, '-'); i > 0 { // the number of CPUs
				m.Name = m.Name[:i]
			}
			for i := 2; i+1 < len(f); i += 2 {
				if v, err := strconv.ParseFloat(f[i], 64); err == nil {
					m.Values[strings.ToLower(f[i+1])] = v
				}
			}
			list = append(list, m)
		}
	}
	return list
}
