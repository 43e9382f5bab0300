package cluster

import (
	"fmt"
	"log"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"
)

// transport is memberlist's own transport with a network that tests can cut.
type transport struct {
	*memberlist.NetTransport
	reachable func(addr string) bool
}

func newTransport(host string, port int, logger *log.Logger, reachable func(string) bool) (*transport, error) {
	if reachable == nil {
		reachable = func(string) bool { return true }
	}
	nt, err := memberlist.NewNetTransport(&memberlist.NetTransportConfig{
		BindAddrs: []string{host}, BindPort: port, Logger: logger,
	})
	if err != nil && strings.HasSuffix(err.Error(), syscall.EADDRINUSE.Error()) {
		err = fmt.Errorf("%w (%w)", err, syscall.EADDRINUSE) // of which memberlist keeps the text only
	}
	if err != nil {
		return nil, err
	}
	return &transport{NetTransport: nt, reachable: reachable}, nil
}

// WriteToAddress loses packets to addresses that cannot be reached, as a
// network does.
func (t *transport) WriteToAddress(b []byte, addr memberlist.Address) (time.Time, error) {
	if !t.reachable(addr.Addr) {
		return time.Now(), nil
	}
	return t.NetTransport.WriteToAddress(b, addr)
}

// DialAddressTimeout refuses addresses that cannot be reached.
func (t *transport) DialAddressTimeout(addr memberlist.Address, timeout time.Duration) (net.Conn, error) {
	if !t.reachable(addr.Addr) {
		return nil, fmt.Errorf("gossip to %s: network cut", addr.Addr)
	}
	return t.NetTransport.DialAddressTimeout(addr, timeout)
}
