package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// machine is where and of what figures are.
type machine struct {
	Date     string        `json:"date"`
	Commit   string        `json:"commit"`
	Dirty    bool          `json:"dirty"` // code that is not in Commit
	Go       string        `json:"go"`
	CPU      string        `json:"cpu"`
	CPUs     int           `json:"cpus"`
	Memory   string        `json:"memory"`
	Kernel   string        `json:"kernel"`
	Disk     string        `json:"disk"` // file system of the nodes' data
	Load     string        `json:"load"` // average when the run began
	Duration time.Duration `json:"duration"`
	TLS      bool          `json:"tls"` // in all rows
}

func examineMachine(ctx context.Context, o options) machine {
	return machine{
		Date: time.Now().UTC().Format(time.DateOnly), Go: runtime.Version(), CPUs: runtime.NumCPU(),
		// Documents are what a report changes; they make no other program.
		Commit: output(ctx, "git", "rev-parse", "--short", "HEAD"),
		Dirty:  output(ctx, "git", "status", "--porcelain", "--", ".", ":!docs", ":!*.md") != "",
		CPU:    field("/proc/cpuinfo", "model name"), Memory: memory(),
		Kernel: "Linux " + firstWord("/proc/sys/kernel/osrelease"), Load: firstWord("/proc/loadavg"),
		Disk: fileSystem(o.dir), Duration: o.duration, TLS: o.tls,
	}
}

// fileName is where the figures of a commit are kept. Rows of different length,
// or with other connections, do not mix.
func (m machine) fileName(o options) string {
	name := fmt.Sprintf("%s-%s", m.Commit, o.duration)
	if m.Dirty {
		name += "-dirty"
	}
	if o.tls {
		name += "-tls"
	}
	return name + ".jsonl"
}

func (m machine) String() string {
	commit := m.Commit
	if m.Dirty {
		commit += " with changes"
	}
	return fmt.Sprintf("%s, commit %s, %s, %d CPUs (%s), %s memory, %s, %s, load %s at the begin; %d nodes and the client on one machine, scheme 4+2, %s a row",
		m.Date, commit, m.Go, m.CPUs, m.CPU, m.Memory, m.Kernel, m.Disk, m.Load, nodes, m.Duration)
}

const unknown = "unknown"

func output(ctx context.Context, name string, args ...string) string {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return unknown
	}
	return strings.TrimSpace(string(out))
}

// field is the first value of that name in a file of "name: value" lines.
func field(path, name string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return unknown
	}
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return unknown
}

func memory() string {
	kib, err := strconv.ParseInt(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB"), 10, 64)
	if err != nil {
		return unknown
	}
	return fmt.Sprintf("%.0f GiB", float64(kib)/(1<<20))
}

func firstWord(path string) string {
	b, err := os.ReadFile(path)
	if err != nil || len(strings.Fields(string(b))) == 0 {
		return unknown
	}
	return strings.Fields(string(b))[0]
}

// fileSystem is the type of the file system on which dir is, or will be.
func fileSystem(dir string) string {
	path, err := filepath.Abs(dir)
	if err != nil {
		return unknown
	}
	b, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return unknown
	}
	kind, longest := unknown, -1
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 3 || len(f[1]) <= longest || !strings.HasPrefix(path+"/", strings.TrimSuffix(f[1], "/")+"/") {
			continue
		}
		kind, longest = f[2], len(f[1])
	}
	return kind
}
