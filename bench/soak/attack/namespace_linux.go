package attack

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
)

// A namespace is a network namespace for attackers. A pair of virtual Ethernet devices joins it to the machine, so that
// packets between the two can be dropped, as they are on the way to a phone.
type namespace struct {
	name, device, inside string
	host, peer           netip.Addr
}

// newNamespace creates one, with addresses of the network for benchmarks, RFC 2544 appendix C.2.2.
func newNamespace() (*namespace, error) {
	n := &namespace{name: fmt.Sprint("fanfare", os.Getpid()), device: fmt.Sprint("ffh", os.Getpid()), inside: fmt.Sprint("ffn", os.Getpid())}
	block := byte(os.Getpid() % 64)
	n.host, n.peer = netip.AddrFrom4([4]byte{198, 19, block, 1}), netip.AddrFrom4([4]byte{198, 19, block, 2})
	if os.Getuid() != 0 {
		return nil, ErrNoNamespace
	}
	if err := ip("netns", "add", n.name); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoNamespace, err)
	}
	if err := n.join(); err != nil {
		n.remove()
		return nil, fmt.Errorf("%w: %w", ErrNoNamespace, err)
	}
	return n, nil
}

func (n *namespace) join() error {
	// Fixed link addresses that the host knows: it must learn from TCP, not from ARP, that the peer is gone.
	const hostLink, peerLink = "02:00:00:00:00:01", "02:00:00:00:00:02"
	for _, args := range []string{
		"link add " + n.device + " address " + hostLink + " type veth peer name " + n.inside + " address " + peerLink + " netns " + n.name,
		"addr add " + n.host.String() + "/24 dev " + n.device,
		"link set " + n.device + " up",
		"neigh add " + n.peer.String() + " lladdr " + peerLink + " dev " + n.device + " nud permanent",
		"-n " + n.name + " addr add " + n.peer.String() + "/24 dev " + n.inside,
		"-n " + n.name + " link set " + n.inside + " up",
	} {
		if err := ip(strings.Fields(args)...); err != nil {
			return err
		}
	}
	return nil
}

// drop drops all packets in both directions, by removing the address of the namespace.
func (n *namespace) drop() error {
	return ip("-n", n.name, "addr", "flush", "dev", n.inside)
}

func (n *namespace) remove() {
	ip("link", "del", n.device)
	ip("netns", "del", n.name)
}

func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// ErrNoNamespace means that this system has no network namespaces, or does not let this user create them.
var ErrNoNamespace = errors.New("attack: this needs root, iproute2, and network namespaces")
