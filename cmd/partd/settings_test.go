package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// partd runs one command line.
func partd(t *testing.T, environ []string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), args, stdio{in: strings.NewReader(""), out: &out, err: &errs}, environ)
	return status, out.String(), errs.String()
}

func writeFile(t *testing.T, content string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// required is the least a node needs, as environment.
func required() []string {
	return []string{
		"PARTSTORE_DATA_DIR=/data", "PARTSTORE_NAME=n1", "PARTSTORE_ACCESS_KEY_ID=AK",
		"PARTSTORE_SECRET_ACCESS_KEY=SK", "PARTSTORE_CLUSTER_SECRET=0123456789abcdef",
	}
}

func TestFlagsBeatEnvironmentBeatsFileBeatsDefault(t *testing.T) {
	file := writeFile(t, "zone: file\nqingstor_zone: file\nadvertise: file\nseeds: [a:1, b:2]\n")
	environ := append(required(), "PARTSTORE_ZONE=env", "PARTSTORE_ADVERTISE=env", "PARTSTORE_LOG_LEVEL=",
		"PARTSTORE_ADMIN=http://elsewhere", "HOME=/root")
	cmd := newServe(nil)
	if err := cmd.ParseFlags([]string{"--config", file, "--zone", "flag"}); err != nil {
		t.Fatal(err)
	}
	values, err := resolve(cmd.Flags(), environ)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][2]string{
		"zone":          {"flag", "flag"},
		"advertise":     {"env", "environment"},
		"qingstor_zone": {"file", "file"},
		"seeds":         {"a:1,b:2", "file"},
		"log_level":     {"info", "default"},
		"scheme":        {"4+2", "default"},
	}
	for _, v := range values {
		if w, ok := want[v.key]; ok && (v.text != w[0] || v.origin != w[1]) {
			t.Errorf("%s = %q from %s, want %q from %s", v.key, v.text, v.origin, w[0], w[1])
		}
	}
	c, err := build(values)
	if err != nil {
		t.Fatal(err)
	}
	if c.node.Zone != "flag" || !slices.Equal(c.node.Seeds, []string{"a:1", "b:2"}) || c.node.DrainTimeout != 20*time.Second {
		t.Errorf("build = %+v", c.node)
	}
}

func TestEverythingWrongIsReportedAtOnce(t *testing.T) {
	file := writeFile(t, "zone: {}\nnaem: x\nseeds:\n")
	environ := []string{"PARTSTORE_BOOTSTRAP_EXPECT=0", "PARTSTORE_NOISE=1", "PARTSTORE_LOG_FORMAT=xml", "PARTSTORE_ADMIN_LISTEN=:7073"}
	status, _, stderr := partd(t, environ, "config", "check", "--config", file, "--scheme", "4", "--drain-timeout", "-1s",
		"--cluster-secret-file", filepath.Join(t.TempDir(), "absent"))
	if status != exitError {
		t.Errorf("config check = %d, want %d", status, exitError)
	}
	for _, want := range []string{
		`unknown setting "naem"`, "line 1: zone", "line 3: seeds", "PARTSTORE_NOISE", "bootstrap_expect", "scheme", "drain_timeout",
		"log_format", "cluster_secret_file", "data directory is required", "node name is required", "admin token is required",
	} {
		if !strings.Contains(stderr, want) {
			t.Errorf("errors do not mention %q:\n%s", want, stderr)
		}
	}
}

func TestConfigCheckShowsOriginsAndHidesSecrets(t *testing.T) {
	secret := writeFile(t, "from a file, 16 bytes or more\n")
	environ := append(required()[:4], "PARTSTORE_CLUSTER_SECRET_FILE="+secret)
	status, stdout, stderr := partd(t, environ, "config", "check")
	if status != exitDone {
		t.Fatalf("config check = %d: %s", status, stderr)
	}
	for _, hidden := range []string{"SK", "from a file"} {
		if strings.Contains(stdout, hidden) {
			t.Errorf("output shows the secret %q:\n%s", hidden, stdout)
		}
	}
	for _, s := range settings {
		if !strings.Contains(stdout, s.key) {
			t.Errorf("output lacks %s", s.key)
		}
	}
	if !strings.Contains(stdout, "environment, from "+secret) {
		t.Errorf("output does not say that the secret came from %s:\n%s", secret, stdout)
	}
}

func TestSecretFromFileLosesOnlyItsNewline(t *testing.T) {
	environ := append(required()[:4], "PARTSTORE_CLUSTER_SECRET_FILE="+writeFile(t, " 0123456789abcdef \n"))
	cmd := newServe(nil)
	values, err := resolve(cmd.Flags(), environ)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := build(values); err != nil || c.node.ClusterSecret != " 0123456789abcdef " {
		t.Errorf("cluster secret = %q, %v", c.node.ClusterSecret, err)
	}
}

func TestSecretGivenTwiceInOneSourceIsRefused(t *testing.T) {
	environ := append(required(), "PARTSTORE_CLUSTER_SECRET_FILE="+writeFile(t, "another secret of bytes"))
	if status, _, stderr := partd(t, environ, "config", "check"); status != exitError || !strings.Contains(stderr, "both") {
		t.Errorf("config check = %d, %q, want a refusal", status, stderr)
	}
}

func TestSecretsHaveNoFlagOfTheirOwn(t *testing.T) {
	flags := newServe(nil).Flags()
	for _, s := range settings {
		if value, file := flags.Lookup(flagName(s.key)), flags.Lookup(flagName(s.key+fileSuffix)); (value == nil) != s.secret || (file != nil) != s.secret {
			t.Errorf("%s: value flag %v, file flag %v, secret %v", s.key, value != nil, file != nil, s.secret)
		}
	}
}

func TestEverySettingReachesTheConfiguration(t *testing.T) {
	example := map[string]string{
		"text": "x", "path": "x", "host": "x", "host:port": "x:1", "secret": "x", "list of host:port": "x:1", "list of paths": "x", "list of domains": "x", "list of hosts": "x",
		"count": "3", "k+m": "2+1", "duration": "3m", "debug, info, warn or error": "debug", "text or json": "json",
		"auto, on or off": "on", "on or off": "off", "MiB": "3",
	}
	for _, s := range settings {
		value, ok := example[s.kind]
		if !ok {
			t.Errorf("%s: no example of kind %q", s.key, s.kind)
			continue
		}
		var c, zero serveConfig
		if err := s.set(&c, value); err != nil {
			t.Errorf("%s: set %q: %v", s.key, value, err)
		}
		if sameConfig(c, zero) {
			t.Errorf("%s: setting %q changes nothing", s.key, value)
		}
		if s.def == "" {
			continue
		}
		if err := s.set(&c, s.def); err != nil {
			t.Errorf("%s: default %q: %v", s.key, s.def, err)
		}
	}
}

func FuzzParseFile(f *testing.F) {
	f.Add([]byte("zone: east\nseeds: [a:1, b:2]\n"))
	f.Add([]byte("zone: &a [*a]\n"))
	f.Add([]byte("zone: !!null\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		values, err := parseFile(b)
		if err != nil {
			return
		}
		for key := range values {
			if !slices.ContainsFunc(settings, func(s setting) bool { return slices.Contains(s.names(), key) }) {
				t.Errorf("parseFile(%q) accepts %q", b, key)
			}
		}
	})
}
