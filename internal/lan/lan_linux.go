package lan

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Network is a switch with hosts, counted from 1. This program is at the switch
// too: it reaches every host, and no fault touches that.
type Network struct {
	hosts []*host

	mu     sync.Mutex
	faults int // made so far; names the rules
}

// host is one network namespace and the thread that lives in it.
type host struct {
	work   chan func()
	thread int
	gone   chan struct{}
}

// New makes a network of n hosts. The program must have been isolated.
func New(n int) (_ *Network, err error) {
	if os.Getenv(isolated) == "" {
		return nil, errors.New("lan: this program has no network of its own")
	}
	net := &Network{}
	defer func() {
		if err != nil {
			net.Close()
		}
	}()
	if err := run("ip", "link set lo up", "link add lan type bridge", "addr add "+address(0)+"/24 dev lan", "link set lan up"); err != nil {
		return nil, err
	}
	for i := 1; i <= n; i++ {
		h, err := newHost()
		if err != nil {
			return nil, err
		}
		net.hosts = append(net.hosts, h)
		link := fmt.Sprintf("lan%d", i)
		err = run("ip",
			fmt.Sprintf("link add %s type veth peer name eth0 netns %d", link, h.thread),
			fmt.Sprintf("link set %s master lan", link), fmt.Sprintf("link set %s up", link))
		if err != nil {
			return nil, err
		}
		err = h.do(func() error {
			return run("ip", "link set lo up", "addr add "+address(i)+"/24 dev eth0", "link set eth0 up")
		})
		if err != nil {
			return nil, err
		}
	}
	return net, nil
}

// Addr is the IP address of host i.
func (n *Network) Addr(i int) string { return address(i) }

func address(i int) string {
	if i == 0 {
		i = 254 // the switch
	}
	return fmt.Sprintf("10.77.0.%d", i)
}

// Start starts a command on host i. It is killed when this program ends.
func (n *Network) Start(i int, cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	return n.hosts[i-1].do(cmd.Start)
}

// Close ends the hosts. What still runs on them is killed.
func (n *Network) Close() {
	for i, h := range n.hosts {
		// The kernel takes its time with namespaces, and another New wants the
		// names. A link that was never made is no loss.
		_ = run("ip", fmt.Sprintf("link del lan%d", i+1))
		close(h.work)
		<-h.gone
	}
	n.hosts = nil
	_ = run("ip", "link del lan")
}

// newHost starts a thread in a network namespace of its own. The thread is
// never used for anything else, and ends with the host.
func newHost() (*host, error) {
	h := &host{work: make(chan func()), gone: make(chan struct{})}
	ready := make(chan error, 1)
	go h.live(ready, make(chan struct{})) // Close waits for it
	if err := <-ready; err != nil {
		return nil, fmt.Errorf("network namespace: %w", err)
	}
	return h, nil
}

func (h *host) live(ready chan<- error, taken chan<- struct{}) {
	runtime.LockOSThread() // for good: a locked goroutine takes its thread with it
	close(taken)
	if h.thread = unix.Gettid(); h.thread == os.Getpid() {
		// Other than the main thread, which would stay, and with it what was
		// started from it. While we hold it, the next one gets another.
		next := make(chan struct{})
		go h.live(ready, next)
		<-next
		runtime.UnlockOSThread()
		return
	}
	defer close(h.gone)
	err := unix.Unshare(unix.CLONE_NEWNET)
	ready <- err
	if err != nil {
		return
	}
	for f := range h.work {
		f()
	}
}

// do runs f on the host.
func (h *host) do(f func() error) error {
	done := make(chan error, 1)
	h.work <- func() { done <- f() }
	return <-done
}

// Fault is a share of the packets from one host to another that are dropped.
type Fault struct {
	to   *host
	name string
	rule []string
}

// Drop makes host to lose a share of what host from sends to it, between 0 and
// 1. The other direction is untouched.
func (n *Network) Drop(from, to int, share float64) (*Fault, error) {
	n.mu.Lock()
	n.faults++
	f := &Fault{to: n.hosts[to-1], name: fmt.Sprintf("fault%d", n.faults)}
	n.mu.Unlock()
	f.rule = []string{"INPUT", "-s", address(from)}
	if share < 1 {
		f.rule = append(f.rule, "-m", "statistic", "--mode", "random", "--probability", strconv.FormatFloat(share, 'f', 6, 64))
	}
	f.rule = append(f.rule, "-m", "comment", "--comment", f.name, "-j", "DROP")
	return f, f.iptables("-A")
}

func (f *Fault) iptables(verb string) error {
	return f.to.do(func() error {
		out, err := exec.Command("iptables", append([]string{"-w", verb}, f.rule...)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("iptables %s %v: %w: %s", verb, f.rule, err, out)
		}
		return nil
	})
}

// Dropped is how many packets were lost so far.
func (f *Fault) Dropped() (packets int, err error) {
	err = f.to.do(func() error {
		out, err := exec.Command("iptables", "-w", "-nvxL", "INPUT").Output()
		if err != nil {
			return fmt.Errorf("iptables: %w", err)
		}
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, "/* "+f.name+" */") {
				packets, err = strconv.Atoi(strings.Fields(line)[0])
				return err
			}
		}
		return fmt.Errorf("%s is gone", f.name)
	})
	return packets, err
}

// Heal ends the fault and returns how many packets it took.
func (f *Fault) Heal() (packets int, err error) {
	packets, err = f.Dropped()
	return packets, errors.Join(err, f.iptables("-D"))
}

// run feeds lines to a command that reads them in a batch.
func run(tool string, lines ...string) error {
	cmd := exec.Command(tool, "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", tool, err, out)
	}
	return nil
}
