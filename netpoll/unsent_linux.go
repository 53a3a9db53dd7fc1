package netpoll

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	// unsentTimeout is how long the kernel may go on offering unsent bytes to a peer
	// that takes none, after the connection was closed here: some round trips and
	// retransmissions. Without a limit it keeps up to a full send buffer, megabytes,
	// for minutes: eight probes, with twice the interval after each (tcp_orphan_retries).
	unsentTimeout = 5 * time.Second
	// stalledProbes is how many doubled intervals without progress are longer than
	// unsentTimeout: the first is at least 200 ms, so five are 6.2 s.
	stalledProbes = 5
)

// limitUnsent is called before close(2). If bytes are unsent, or not acknowledged, they
// get unsentTimeout, counted from the moment when the peer stopped taking any. The kernel
// looks at that only when its next probe is due, which for a peer that has been stalled
// for long is as far away as the stall is old, so such a connection is reset at once.
//
// A peer that takes a few bytes every second is not stalled and not limited here. Unix
// sockets are not concerned: what they hold is in the receiver's queue already.
func limitUnsent(fd int) {
	if ioctlInt(fd, unix.SIOCOUTQ) == 0 {
		return
	}
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return // a Unix socket
	}
	if info.Backoff >= stalledProbes {
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 0})
		return
	}
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unsentTimeout.Milliseconds()))
}
