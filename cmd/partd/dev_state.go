package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"partstore/internal/layout"
)

// devState is what a dev cluster must remember besides its data to come back
// the same. It holds secrets: the file is readable by its owner alone.
type devState struct {
	Nodes           int           `json:"nodes"`
	Scheme          layout.Scheme `json:"scheme"`
	AccessKeyID     string        `json:"access_key_id"`
	SecretAccessKey string        `json:"secret_access_key"`
	ClusterSecret   string        `json:"cluster_secret"`
	SealingKeys     string        `json:"sealing_keys"`
}

const devStateFile = "dev.json"

// openDevState reads the state kept in dir, or makes and keeps a fresh one.
func openDevState(dir string, opts devOptions) (devState, error) {
	scheme, err := parseDevScheme(opts.scheme)
	if err != nil {
		return devState{}, err
	}
	if opts.nodes < scheme.Total() {
		return devState{}, fmt.Errorf("%w: scheme %s needs at least %d nodes, not %d", errUsage, scheme, scheme.Total(), opts.nodes)
	}
	path := filepath.Join(dir, devStateFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return createDevState(path, opts.nodes, scheme)
	}
	if err != nil {
		return devState{}, err
	}
	var s devState
	if err := json.Unmarshal(b, &s); err != nil {
		return devState{}, fmt.Errorf("%s: %w", path, err)
	}
	if (opts.nodesGiven && opts.nodes != s.Nodes) || (opts.schemeGiven && scheme != s.Scheme) {
		return devState{}, fmt.Errorf("the cluster in %s has %d nodes and scheme %s; start it with these, or use another directory",
			dir, s.Nodes, s.Scheme)
	}
	return s, nil
}

func createDevState(path string, nodes int, scheme layout.Scheme) (devState, error) {
	s := devState{
		Nodes:           nodes,
		Scheme:          scheme,
		AccessKeyID:     rand.Text()[:20],
		SecretAccessKey: rand.Text() + rand.Text()[:14],
		ClusterSecret:   rand.Text() + rand.Text(),
	}
	var sealing [32]byte
	_, _ = rand.Read(sealing[:]) // never fails
	s.SealingKeys = base64.StdEncoding.EncodeToString(sealing[:])
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return s, err
	}
	// A half-written file would be refused at the next start; rename is whole.
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, append(b, '\n'), 0o600); err != nil {
		return s, err
	}
	return s, os.Rename(tmp, path)
}
