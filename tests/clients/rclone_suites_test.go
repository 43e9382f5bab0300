package clients

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// rcloneModule is the module that pins rclone.
const rcloneModule = "rclone"

// rclonesBackends is what tests of rclone are compiled with instead of all its
// backends, which are very many; the one for OneDrive brings a hash they ask for.
const rclonesBackends = `package all

import (
	_ "github.com/rclone/rclone/backend/local"
	_ "github.com/rclone/rclone/backend/memory"
	_ "github.com/rclone/rclone/backend/onedrive"
	_ "github.com/rclone/rclone/backend/qingstor"
)
`

// rclone's own tests of a remote, which run against every service it knows: of
// the backend, of what is built on it, and of its file system.
func TestRcloneSuites(t *testing.T) {
	haveRclone(t)
	dir := sources(t, rcloneModule, "github.com/rclone/rclone")
	if err := os.WriteFile(filepath.Join(dir, "backend", "all", "all.go"), []byte(rclonesBackends), 0o600); err != nil {
		t.Fatal(err)
	}
	list := exec.CommandContext(t.Context(), "go", "list", "-test", "-deps", "./backend/qingstor", "./fs/operations", "./fs/sync", "./vfs", "./cmd/bisync")
	list.Dir = dir
	if out, err := list.CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: what rclone's tests are made of cannot be had here: %v\n%s", err, lastLines(string(out)))
	}
	c := startCluster(t)
	env := append(rcloneEnv(c, "TestQingStor", spread(t, c)), "RCLONE_CONFIG=/dev/null", "RCLONE_DISABLE_HTTP_KEEP_ALIVES=true")
	for _, s := range []struct {
		pkg   string
		least int
		slow  bool
		skip  []string
	}{
		// A copy made in the second of its source has the source's time, as HTTP
		// tells time, and is taken for the same object. Over a network that needs
		// 50 ms for an answer the test passes.
		{pkg: "backend/qingstor", least: 90, skip: []string{"^TestIntegration$/^FsMkdir$/^FsPutFiles$/^FsCopy$"}},
		{pkg: "fs/operations", least: 160, slow: true},
		{pkg: "fs/sync", least: 100, slow: true},
		{pkg: "vfs", least: 280, slow: true},
		{pkg: "cmd/bisync", least: 6, slow: true},
	} {
		t.Run(s.pkg, func(t *testing.T) {
			if s.slow && testing.Short() {
				t.Skip("left out with -short")
			}
			suite{
				dir: dir, pkg: s.pkg, env: env, skip: s.skip, least: s.least,
				args: []string{"-remote", "TestQingStor:", fmt.Sprintf("-test.timeout=%v", suiteTimeout)},
			}.run(t)
		})
	}
}
