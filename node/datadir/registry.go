package datadir

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"partstore/metadata"
)

// Directories in the data directory.
const (
	StoreDir          = "store" // beside the registry: the node's store
	RegistryDir       = "registry"
	QuarantinedPrefix = "registry-quarantined-" // and a generation that was given up
)

// MoveRegistryAside makes room for the registry of a generation. Once the one
// before is aside, what is in its place was never opened.
func MoveRegistryAside(dir string, generation metadata.Generation) error {
	if generation == 1 {
		return nil
	}
	registry := filepath.Join(dir, RegistryDir)
	aside := filepath.Join(dir, QuarantinedPrefix+strconv.FormatUint(uint64(generation-1), 10))
	_, err := os.Stat(aside)
	switch {
	case err == nil:
		return os.RemoveAll(registry)
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	if err := os.Rename(registry, aside); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return syncDir(dir)
}

// SweepQuarantined removes all registries that were moved aside but the newest.
func SweepQuarantined(dir string) error {
	paths, err := filepath.Glob(filepath.Join(dir, QuarantinedPrefix+"*"))
	if err != nil || len(paths) == 0 {
		return err
	}
	generation := func(path string) uint64 {
		n, _ := strconv.ParseUint(strings.TrimPrefix(filepath.Base(path), QuarantinedPrefix), 10, 32)
		return n
	}
	slices.SortFunc(paths, func(a, b string) int { return cmp.Compare(generation(a), generation(b)) })
	for _, path := range paths[:len(paths)-1] {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return nil
}
