package lan

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"
)

// patience bounds every wait; no claim about speed.
const patience = 30 * time.Second

// unavailable is why there are no networks here.
var unavailable error

func TestMain(m *testing.M) {
	if os.Getenv("LAN_ECHO") != "" {
		echo()
		return
	}
	unavailable = Isolate()
	os.Exit(m.Run())
}

// echo answers packets with their own text, on any address.
func echo() {
	conn, err := net.ListenPacket("udp", ":9")
	if err != nil {
		panic(err)
	}
	fmt.Println("ready")
	buf := make([]byte, 100)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			panic(err)
		}
		if _, err := conn.WriteTo(buf[:n], from); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
}

func newNetwork(t *testing.T, hosts int) *Network {
	t.Helper()
	if unavailable != nil {
		t.Skipf("SKIPPED: no network namespaces here: %v", unavailable)
	}
	n, err := New(hosts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

// startEcho starts a process that echoes on a host, and returns it.
func startEcho(t *testing.T, n *Network, host int) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "LAN_ECHO=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(host, cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // killed
	})
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// reaches reports whether a packet of host from to the echo on host to comes
// back within a moment.
func reaches(t *testing.T, n *Network, from, to int) (ok bool) {
	t.Helper()
	err := n.hosts[from-1].do(func() error {
		conn, err := net.Dial("udp", net.JoinHostPort(n.Addr(to), "9"))
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			return err
		}
		if _, err := conn.Write([]byte("?")); err != nil {
			return err
		}
		_, err = conn.Read(make([]byte, 1))
		ok = err == nil
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

// A cut loses what goes one way, and says how much; the way back and other
// hosts are untouched, and healing ends it.
func TestACutIsOneWay(t *testing.T) {
	n := newNetwork(t, 3)
	startEcho(t, n, 1)
	startEcho(t, n, 2)
	cut, err := n.Drop(1, 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	if reaches(t, n, 1, 2) {
		t.Error("1 reaches 2 through the cut")
	}
	if dropped, err := cut.Dropped(); err != nil || dropped == 0 {
		t.Errorf("dropped %d packets: %v", dropped, err)
	}
	// Asked by 2, the answer of 1 is what the cut takes: 1 heard the question.
	before, err := cut.Dropped()
	if err != nil {
		t.Fatal(err)
	}
	if reaches(t, n, 2, 1) {
		t.Error("the answer of 1 reaches 2 through the cut")
	}
	if after, err := cut.Dropped(); err != nil || after <= before {
		t.Errorf("the question of 2 did not reach 1: %d packets dropped before, %d after: %v", before, after, err)
	}
	if !reaches(t, n, 3, 1) || !reaches(t, n, 3, 2) {
		t.Error("the cut between 1 and 2 takes packets of 3")
	}
	if dropped, err := cut.Heal(); err != nil || dropped < 2 {
		t.Errorf("dropped %d packets in all: %v", dropped, err)
	}
	if !reaches(t, n, 1, 2) {
		t.Error("1 does not reach 2 after healing")
	}
}

// A lossy link loses some packets and not all.
func TestALossyLinkLosesSome(t *testing.T) {
	n := newNetwork(t, 2)
	startEcho(t, n, 2)
	loss, err := n.Drop(1, 2, 0.5)
	if err != nil {
		t.Fatal(err)
	}
	var got, lost bool
	for deadline := time.Now().Add(patience); !got || !lost; {
		if time.Now().After(deadline) {
			t.Fatalf("got %v, lost %v", got, lost)
		}
		ok := reaches(t, n, 1, 2)
		got, lost = got || ok, lost || !ok
	}
	if dropped, err := loss.Heal(); err != nil || dropped == 0 {
		t.Errorf("dropped %d packets: %v", dropped, err)
	}
}

// The main thread of a program does not end before the program, so no host may
// live there.
func TestNoHostLivesOnTheMainThread(t *testing.T) {
	if unavailable != nil {
		t.Skipf("SKIPPED: no network namespaces here: %v", unavailable)
	}
	for range 300 {
		h, err := newHost()
		if err != nil {
			t.Fatal(err)
		}
		if h.thread == os.Getpid() {
			t.Fatal("a host lives on the main thread")
		}
		close(h.work)
		<-h.gone
	}
}

// What runs on a host ends with the network, so nothing is left behind.
func TestProcessesEndWithTheirNetwork(t *testing.T) {
	n := newNetwork(t, 1)
	cmd := startEcho(t, n, 1)
	n.Close()
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Exited() {
		t.Errorf("the process ended with %v, want a signal", err)
	}
	newNetwork(t, 1)
}
