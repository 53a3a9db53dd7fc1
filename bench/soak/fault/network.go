package fault

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
)

// place is where one process listens, or the test itself.
type place struct {
	name   string
	ip     string
	prefix []string // what starts a program there
}

// network has places, and links between them that can be cut: nothing passes any
// more, and nobody is told.
type network interface {
	// what is its kind, for the report.
	what() string
	add(name string) (*place, error)
	// home is where the test itself is.
	home() *place
	// via is the address by which one place dials a port of another.
	via(from, to *place, port int) (string, error)
	// cut cuts the way of what one place sends to another, if oneWay where that
	// is possible not the way back.
	cut(from, to *place, oneWay bool) error
	heal(from, to *place) error
	close()
}

// networks of this process so far; each has an address range of its own.
var networks atomic.Uint32

// numbers of this process and of one of its networks, as two bytes of an address: 12
// bits of the one and 4 of the other, so 16 networks at a time.
func numbers() (network uint32, second, third int) {
	n := networks.Add(1)
	return n, os.Getpid() >> 4 & 0xff, os.Getpid()&0xf<<4 | int(n&0xf)
}

// loopback are addresses that nobody else has.
func loopback() string {
	_, second, third := numbers()
	return fmt.Sprintf("127.%d.%d", second, third)
}

// newNetwork makes one of network namespaces, or of proxies where those are not
// to be had.
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
