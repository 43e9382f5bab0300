package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
)

// ports are the four ports of one node.
type ports struct {
	Client int `json:"client"`
	Peer   int `json:"peer"`
	Gossip int `json:"gossip"`
	Admin  int `json:"admin"`
}

// Ports are picked below the range the kernel gives to outgoing connections,
// so that none of those takes a port while its node is stopped.
const (
	firstPort = 20000
	lastPort  = 32000
)

const portsFile = "ports.json"

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// loadPorts returns the ports the nodes in dir had before, or picks some and
// keeps them there.
func loadPorts(dir string, nodes int) ([]ports, error) {
	b, err := os.ReadFile(filepath.Join(dir, portsFile))
	if err == nil {
		var ps []ports
		if err := json.Unmarshal(b, &ps); err != nil {
			return nil, fmt.Errorf("%s: %w", portsFile, err)
		}
		if len(ps) != nodes {
			return nil, fmt.Errorf("directory %s holds a cluster of %d nodes, not %d", dir, len(ps), nodes)
		}
		return ps, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	ps := make([]ports, nodes)
	for i := range ps {
		if ps[i], err = freePorts(); err != nil {
			return nil, err
		}
	}
	return ps, savePorts(dir, ps)
}

func savePorts(dir string, ps []ports) error {
	b, err := json.Marshal(ps)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, portsFile), b, 0o600)
}

func freePorts() (p ports, err error) {
	for _, port := range []*int{&p.Client, &p.Peer, &p.Gossip, &p.Admin} {
		if *port, err = freePort(); err != nil {
			return ports{}, err
		}
	}
	return p, nil
}

// freePort returns a port nobody listens on now, for TCP and UDP.
func freePort() (int, error) {
	var last error
	for range 100 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		tcp, err := net.Listen("tcp", loopback(port))
		if err != nil {
			last = err
			continue
		}
		udp, err := net.ListenPacket("udp", loopback(port))
		if err != nil {
			last = errors.Join(err, tcp.Close())
			continue
		}
		return port, errors.Join(tcp.Close(), udp.Close())
	}
	return 0, fmt.Errorf("no free port: %w", last)
}
