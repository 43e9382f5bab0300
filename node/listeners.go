package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
)

// Addrs are the addresses a node is bound to, host:port.
type Addrs struct {
	Client, Peer, Gossip, Admin string
}

// Addrs returns the addresses the node is bound to.
func (n *Node) Addrs() Addrs {
	host, _, err := net.SplitHostPort(n.listeners.peer.Addr().String())
	if err != nil {
		host = "" // cannot be: a TCP address has a port
	}
	return Addrs{
		Client: n.listeners.client.Addr().String(),
		Peer:   n.listeners.peer.Addr().String(),
		Gossip: net.JoinHostPort(host, strconv.Itoa(n.gossip.Port())),
		Admin:  n.listeners.admin.Addr().String(),
	}
}

// listeners are the node's TCP listeners; gossip has its own.
type listeners struct {
	client, peer, admin net.Listener
}

func (l *listeners) bind(cfg Config) (err error) {
	for _, b := range []struct {
		what   string
		listen string
		to     *net.Listener
	}{
		{"client API", cfg.ClientListen, &l.client},
		{"peers", cfg.PeerListen, &l.peer},
		{"admin API", cfg.AdminListen, &l.admin},
	} {
		if *b.to, err = net.Listen("tcp", b.listen); err != nil {
			return errors.Join(fmt.Errorf("listen for %s: %w", b.what, err), l.Close())
		}
	}
	return nil
}

func (l *listeners) Close() error {
	var errs []error
	for _, ln := range []net.Listener{l.client, l.peer, l.admin} {
		if ln != nil {
			if err := ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

func (l *listeners) port(ln net.Listener) uint16 {
	return uint16(ln.Addr().(*net.TCPAddr).Port)
}

// serveHTTP serves until the server is shut down or closed.
func serveHTTP(s *http.Server, ln net.Listener) error {
	if err := s.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// advertise is the host under which peers reach this node.
func (n *Node) advertise(ctx context.Context) (string, error) {
	if n.cfg.Advertise != "" {
		return n.cfg.Advertise, nil
	}
	if addr := n.listeners.peer.Addr().(*net.TCPAddr); !addr.IP.IsUnspecified() {
		return addr.IP.String(), nil
	}
	for _, seed := range n.cfg.Seeds {
		// Connecting a UDP socket sends nothing; it asks the kernel for the route.
		conn, err := (&net.Dialer{}).DialContext(ctx, "udp", seed)
		if err != nil {
			continue
		}
		ip := conn.LocalAddr().(*net.UDPAddr).IP
		if err := conn.Close(); err != nil {
			return "", err
		}
		return ip.String(), nil
	}
	return "", errors.New("cannot tell the address peers reach this node at: set advertise")
}

func isLoopback(listen string) bool {
	if listen == "" {
		return true // the default is
	}
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// withPort is addr with another port.
func withPort(addr string, port int) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return ""
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}
