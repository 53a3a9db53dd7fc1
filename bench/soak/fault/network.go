package fault

import (
	"context"
	"errors"
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

// numbers returns the number of a new network, and two bytes of its addresses: 10
// bits of the process number and 6 of the network, so 64 networks at a time.
func numbers() (network uint32, second, third int) {
	n := networks.Add(1)
	return n, os.Getpid() >> 2 & 0xff, os.Getpid()&0x3<<6 | int(n&0x3f)
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

// direct is a network of loopback addresses without proxies, whose links cannot be cut.
type direct struct {
	base   string
	here   *place
	places atomic.Uint32
}

func newDirect() *direct {
	base := loopback()
	return &direct{base: base, here: &place{name: "home", ip: base + ".1"}}
}

func (*direct) what() string { return "loopback" }

func (n *direct) home() *place { return n.here }

func (n *direct) add(name string) (*place, error) {
	return &place{name: name, ip: fmt.Sprintf("%s.%d", n.base, n.places.Add(1)+1)}, nil
}

func (*direct) via(_, to *place, port int) (string, error) {
	return fmt.Sprintf("%s:%d", to.ip, port), nil
}

var errNoCut = errors.New("fault: a link of loopback cannot be cut")

func (*direct) cut(_, _ *place, _ bool) error { return errNoCut }
func (*direct) heal(_, _ *place) error        { return nil }
func (*direct) close()                        {}
