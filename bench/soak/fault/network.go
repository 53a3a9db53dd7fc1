package fault

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
)

// place is the address of a process, or of the test itself.
type place struct {
	name   string
	ip     string
	prefix []string // of the command of a program there
}

// network has places, and links between them that can be cut: a cut link drops
// everything silently.
type network interface {
	// what describes the network, for the report.
	what() string
	add(name string) (*place, error)
	// home is the place of the test itself.
	home() *place
	// via returns the address at which one place reaches a port of another.
	via(from, to *place, port int) (string, error)
	// cut cuts the link between two places; with oneWay only from the first to
	// the second, if the network can do that.
	cut(from, to *place, oneWay bool) error
	heal(from, to *place) error
	close()
}

// networks counts the networks of this process; each has its own address range.
var networks atomic.Uint32

// numbers returns the number of a new network, and two bytes of its addresses: 12
// bits of the process number and 4 of the network, so 16 networks at a time.
func numbers() (network uint32, second, third int) {
	n := networks.Add(1)
	return n, os.Getpid() >> 4 & 0xff, os.Getpid()&0xf<<4 | int(n&0xf)
}

// loopback returns a range of loopback addresses for one network.
func loopback() string {
	_, second, third := numbers()
	return fmt.Sprintf("127.%d.%d", second, third)
}

// newNetwork returns a network of network namespaces, or of proxies if namespaces
// are not available.
func newNetwork(ctx context.Context) (network, error) {
	if os.Geteuid() == 0 {
		n, second, third := numbers()
		space, err := newNamespaces(ctx, fmt.Sprintf("ff%d-%d", os.Getpid(), n), fmt.Sprintf("10.%d.%d", second, third))
		if err == nil {
			return space, nil
		}
	}
	return newProxies(loopback()), nil
}
