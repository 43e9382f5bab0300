package clients

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// suiteTimeout bounds one suite.
const suiteTimeout = 40 * time.Minute

// suite is tests of another project, from a copy of its sources.
type suite struct {
	dir   string // the copy
	pkg   string // of it
	args  []string
	env   []string
	skip  []string // tests that cannot pass
	least int      // so many tests pass
}

// sources copies the sources of a module that the one in dir requires.
func sources(t *testing.T, dir, module string) string {
	t.Helper()
	var found struct{ Dir string }
	if err := json.Unmarshal([]byte(gotool(t, dir, "list", "-m", "-json", module)), &found); err != nil {
		t.Fatal(err)
	}
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(found.Dir)); err != nil {
		t.Fatal(err)
	}
	return copied
}

// run compiles the tests and runs them where they expect to be run.
func (s suite) run(t *testing.T) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "suite")
	gotool(t, s.dir, "test", "-c", "-trimpath", "-o", program, "./"+s.pkg)
	ctx, cancel := context.WithTimeout(t.Context(), suiteTimeout)
	defer cancel()
	args := []string{"-test.v"}
	if len(s.skip) > 0 {
		args = append(args, "-test.skip", strings.Join(s.skip, "|"))
	}
	cmd := exec.CommandContext(ctx, program, append(args, s.args...)...)
	cmd.Dir = filepath.Join(s.dir, s.pkg)
	cmd.Env = append(append(os.Environ(), "TMPDIR="+t.TempDir(), "HOME="+t.TempDir()), s.env...)
	out, err := cmd.CombinedOutput()
	passed, failed := outcomes(string(out))
	t.Logf("%s: %d tests pass", s.pkg, passed)
	for _, name := range failed {
		t.Errorf("%s: %s fails", s.pkg, name)
	}
	if err != nil || passed < s.least {
		t.Errorf("%s: %d tests pass, at least %d should; %v\n%s", s.pkg, passed, s.least, err, lastLines(string(out)))
	}
}

// outcomes reads what a test program says with -test.v.
func outcomes(out string) (passed int, failed []string) {
	for _, m := range regexp.MustCompile(`(?m)^ *--- (PASS|FAIL): (\S+)`).FindAllStringSubmatch(out, -1) {
		if m[1] == "PASS" {
			passed++
		} else {
			failed = append(failed, m[2])
		}
	}
	return passed, failed
}

// gotool runs the go command in a directory and returns its output.
func gotool(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if failed := new(exec.ExitError); errors.As(err, &failed) {
		t.Fatalf("go %q: %v\n%s", args, err, lastLines(string(failed.Stderr)))
	} else if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
