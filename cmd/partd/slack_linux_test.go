package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Every thread has the slack, also those the runtime started first: this test
// runs its own program again, as a process that sets it and says so.
func TestEveryThreadHasTheTimerSlack(t *testing.T) {
	const ask = "PARTD_TEST_TIMER_SLACK"
	if os.Getenv(ask) != "" {
		setTimerSlack()
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range tasks {
			slack, err := os.ReadFile(filepath.Join("/proc", task.Name(), "timerslack_ns"))
			if err == nil {
				fmt.Print("slack ", string(slack))
			}
		}
		return
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), ask+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if n := strings.Count(string(out), "slack "); n < 2 || strings.Count(string(out), fmt.Sprintf("slack %d\n", timerSlack)) != n {
		t.Errorf("threads have\n%s", out)
	}
}
