//go:build !linux

package netpoll

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// Without epoll only the goroutine transport exists. No connection has a descriptor that
// the engine owns, so the functions that work on one are never called.

const defaultTransport = Goroutine

func newPoller(k Transport) (Poller, error) {
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
func shutdownBoth(int)                                  { panic(noDescriptor) }
func dupFD(int) (int, error)                            { panic(noDescriptor) }
func isStreamSocket(int) bool                           { panic(noDescriptor) }
func closeFD(int)                                       { panic(noDescriptor) }
func acceptFD(int) (int, netip.AddrPort, syscall.Errno) { panic(noDescriptor) }

// The goroutine transport calls these for its sockets. They are implemented on Linux only.

func limitUnsent(int)                        {}
func limitUnacknowledged(int, time.Duration) {}
func unreadBytes(int) int                    { return 0 }
