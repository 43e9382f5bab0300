package main

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDevStateIsKeptAndSecret(t *testing.T) {
	dir := t.TempDir()
	opts := devOptions{nodes: 6, scheme: "4+2"}
	first, err := openDevState(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, devStateFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("state file: %v, %v, want mode 0600", info.Mode(), err)
	}
	again, err := openDevState(dir, opts)
	if err != nil || again != first {
		t.Errorf("state read again = %+v, %v, want %+v", again, err, first)
	}
	if len(first.AccessKeyID) != 20 || len(first.SecretAccessKey) != 40 || len(first.ClusterSecret) < 16 {
		t.Errorf("secrets of %d, %d and %d characters", len(first.AccessKeyID), len(first.SecretAccessKey), len(first.ClusterSecret))
	}
}

func TestDevRefusesAnotherShapeOfAnExistingCluster(t *testing.T) {
	dir := t.TempDir()
	if _, err := openDevState(dir, devOptions{nodes: 8, scheme: "4+2"}); err != nil {
		t.Fatal(err)
	}
	if s, err := openDevState(dir, devOptions{nodes: 6, scheme: "4+2"}); err != nil || s.Nodes != 8 {
		t.Errorf("with default flags: %d nodes, %v, want the 8 it has", s.Nodes, err)
	}
	for _, opts := range []devOptions{
		{nodes: 6, nodesGiven: true, scheme: "4+2"},
		{nodes: 8, scheme: "2+1", schemeGiven: true},
	} {
		if _, err := openDevState(dir, opts); err == nil || !strings.Contains(err.Error(), "8 nodes and scheme 4+2") {
			t.Errorf("openDevState(%+v) error = %v, want a refusal", opts, err)
		}
	}
}

func TestDevRefusesNonsense(t *testing.T) {
	for _, opts := range []devOptions{{nodes: 5, scheme: "4+2"}, {nodes: 6, scheme: "4"}, {nodes: 0, scheme: "1+1"}} {
		if _, err := openDevState(t.TempDir(), opts); !errors.Is(err, errUsage) {
			t.Errorf("openDevState(%+v) error = %v, want errUsage", opts, err)
		}
	}
	if status, _, _ := partd(t, nil, "dev", "-o", "xml"); status != exitUsage {
		t.Errorf("dev -o xml = %d, want %d", status, exitUsage)
	}
}

func TestHealthcheckFindsTheListener(t *testing.T) {
	tests := []struct{ listen, want string }{
		{":7073", "http://127.0.0.1:7073"},
		{"0.0.0.0:7073", "http://127.0.0.1:7073"},
		{"[::]:7073", "http://127.0.0.1:7073"},
		{"10.0.0.7:80", "http://10.0.0.7:80"},
		{"node1:80", "http://node1:80"},
		{"7073", ""},
	}
	for _, tc := range tests {
		if got, err := localURL(tc.listen); got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("localURL(%q) = %q, %v, want %q", tc.listen, got, err, tc.want)
		}
	}
}

func TestHealthcheckOfNobodyFails(t *testing.T) {
	if status, _, stderr := partd(t, nil, "healthcheck", "--admin-listen", "127.0.0.1:1"); status != exitError || stderr == "" {
		t.Errorf("healthcheck = %d %q, want %d and the reason", status, stderr, exitError)
	}
}

func TestUsageErrors(t *testing.T) {
	for _, args := range [][]string{{"sreve"}, {"serve", "now"}, {"serve", "--fast"}, {"config", "chekc"}} {
		if status, _, _ := partd(t, nil, args...); status != exitUsage {
			t.Errorf("partd %v = %d, want %d", args, status, exitUsage)
		}
	}
}

func TestPresignedURLHasItsParts(t *testing.T) {
	url := presign(http.MethodPut, "http://127.0.0.1:1", "/b/k", "AK", "SK")
	for _, part := range []string{"http://127.0.0.1:1/b/k?", "access_key_id=AK", "expires=", "signature="} {
		if !strings.Contains(url, part) {
			t.Errorf("presign = %s, lacks %s", url, part)
		}
	}
}
