// Command mutants plants known bugs in package metadata, one at a time, and
// runs the tests that should notice. It prints which test caught each and how
// soon, and fails if one survives, or no longer fits the code.
//
//	go run ./tests/mutants [name ...]
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// patience is how long the tests may take to catch a mutant.
const patience = 2 * time.Minute

// A mutant is one change of one file. Old must be there exactly once.
type mutant struct {
	name     string
	file     string // of package metadata
	old, new string
	tests    string // what is run; virtual means TestRegistryInVirtualTime, for half a day
}

const virtual = "TestRegistryInVirtualTime"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(only []string) (err error) {
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var escaped []string
	var broken []error
	fmt.Printf("%-52s %-9s %s\n", "mutant", "after", "caught by")
	for _, m := range mutants {
		if len(only) > 0 && !slices.Contains(only, m.name) {
			continue
		}
		begun := time.Now()
		by, err := m.hunt(dir, &begun)
		switch {
		case err != nil:
			by = "DOES NOT BUILD"
			broken = append(broken, fmt.Errorf("%s: %w", m.name, err))
		case by == "":
			by = "SURVIVED"
			escaped = append(escaped, m.name)
		}
		fmt.Printf("%-52s %-9s %s\n", m.name, time.Since(begun).Round(100*time.Millisecond), by)
	}
	if len(escaped) > 0 {
		broken = append(broken, fmt.Errorf("%d survived: %s", len(escaped), strings.Join(escaped, ", ")))
	}
	return errors.Join(broken...)
}

// hunt builds the tests with the mutant in them and runs them. It returns the
// test that failed, or "". The time to build does not count.
func (m mutant) hunt(dir string, begun *time.Time) (string, error) {
	binary := filepath.Join(dir, "mutant.test")
	if err := m.build(dir, binary); err != nil {
		return "", err
	}
	*begun = time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-test.run", "^("+m.tests+")$", "-test.timeout", (patience - 5*time.Second).String(),
		"-test.failfast", "-virtual.days", "0.5")
	cmd.Dir = "metadata"
	out, err := cmd.CombinedOutput()
	var failed *exec.ExitError
	switch {
	case err == nil, ctx.Err() != nil:
		return "", nil
	case !errors.As(err, &failed):
		return "", err
	}
	return culprit(out), nil
}

// plant returns the mutant's file, of the package in dir, with the bug in it.
func (m mutant) plant(dir string) ([]byte, error) {
	code, err := os.ReadFile(filepath.Join(dir, m.file))
	if err != nil {
		return nil, err
	}
	if n := bytes.Count(code, []byte(m.old)); n != 1 {
		return nil, fmt.Errorf("%s has %d times what the mutant replaces; it must be fitted to the code", m.file, n)
	}
	return bytes.Replace(code, []byte(m.old), []byte(m.new), 1), nil
}

func (m mutant) build(dir, binary string) error {
	path, err := filepath.Abs(filepath.Join("metadata", m.file))
	if err != nil {
		return err
	}
	code, err := m.plant("metadata")
	if err != nil {
		return err
	}
	changed := filepath.Join(dir, "mutant.go")
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {path: changed}})
	if err != nil {
		return err
	}
	err = errors.Join(
		os.WriteFile(changed, code, 0o600),
		os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600),
	)
	if err != nil {
		return err
	}
	out, err := exec.Command("go", "test", "-c", "-o", binary, "-overlay", filepath.Join(dir, "overlay.json"), "./metadata").CombinedOutput()
	if err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	return nil
}

var failure = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

// culprit is the test that the output blames. That the time was over blames
// none: a busy machine would do as well.
func culprit(out []byte) string {
	names := failure.FindAllSubmatch(out, -1)
	switch {
	case bytes.Contains(out, []byte("panic: test timed out")):
		return ""
	case len(names) > 0:
		name, _, _ := strings.Cut(string(names[0][1]), "/")
		return name
	case bytes.Contains(out, []byte("panic: ")):
		return "a panic"
	}
	return "an exit"
}
