//go:build !linux

package lan

import (
	"errors"
	"os/exec"
)

var errUnsupported = errors.New("lan: network namespaces need Linux")

// Network is a switch with hosts.
type Network struct{}

// Fault is a share of the packets from one host to another that are dropped.
type Fault struct{}

// Isolate returns an error.
func Isolate() error { return errUnsupported }

// New returns an error.
func New(int) (*Network, error) { return nil, errUnsupported }

// Addr is the IP address of a host.
func (*Network) Addr(int) string { return "" }

// Start returns an error.
func (*Network) Start(int, *exec.Cmd) error { return errUnsupported }

// Drop returns an error.
func (*Network) Drop(int, int, float64) (*Fault, error) { return nil, errUnsupported }

// Close does nothing.
func (*Network) Close() {}

// Dropped returns an error.
func (*Fault) Dropped() (int, error) { return 0, errUnsupported }

// Heal returns an error.
func (*Fault) Heal() (int, error) { return 0, errUnsupported }
