//go:build !linux

package netpoll

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// Where there is no epoll only the goroutine transport exists: no connection
// has a descriptor of the engine's, and none of the functions that work on one
// is ever reached.

const defaultKind = Goroutine

func newPoller(k Kind) (Poller, error) {
	if k != Goroutine {
		return nil, fmt.Errorf("netpoll: the transport %v needs Linux: %w", k, errors.ErrUnsupported)
	}
	return nil, nil
}

const noDescriptor = "BUG: netpoll: a raw descriptor without a poller"

func dupDescriptor(any) (int, error)                    { panic(noDescriptor) }
func (e *Engine) listenOn(*listener, int) error         { panic(noDescriptor) }
func (e *Engine) turn(*Conn, *worker, Readiness) bool   { panic(noDescriptor) }
func connOf(int) (net.Conn, error)                      { panic(noDescriptor) }
func (c *Conn) sendQueueLocked() (int, error)           { panic(noDescriptor) }
func send(int, []byte) (int, error)                     { panic(noDescriptor) }
func peerAddr(int) netip.AddrPort                       { panic(noDescriptor) }
func shutdownWrite(int)                                 { panic(noDescriptor) }
func closeFD(int)                                       { panic(noDescriptor) }
func acceptFD(int) (int, netip.AddrPort, syscall.Errno) { panic(noDescriptor) }

// These are asked for the sockets of the goroutine transport, and have no answer here.

func limitUnsent(int)     {}
func unreadBytes(int) int { return 0 }
