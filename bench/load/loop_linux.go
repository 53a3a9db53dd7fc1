package load

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

const never = int64(1<<63 - 1)

// run serves events until done reports true or the deadline, and reports which.
func (c *Client) run(until int64, done func() bool) (inTime bool) {
	t, _ := c.phase.(timed)
	for !done() {
		timeout := -1
		if until != never || t != nil {
			now, wake := Now(), until
			if t != nil {
				wake = min(until, t.tick(now))
			}
			if now >= until {
				return false
			}
			if wake != never {
				timeout = int(max(0, wake-now+999_999) / 1_000_000)
			}
		}
		c.free, c.freed = append(c.free, c.freed...), c.freed[:0]
		for _, ev := range c.wait(timeout) {
			if ev.Fd == noConn {
				c.watched[ev.Pad]()
				continue
			}
			k := &c.conns[ev.Fd]
			if k.fd < 0 || k.gen != uint32(ev.Pad) {
				continue // an event for a former connection of the slot
			}
			if ev.Events&unix.EPOLLOUT != 0 && (k.state == stateDialling || k.part != nil && len(k.part.out) > 0) {
				c.writable(k)
			}
			const ends = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
			if k.fd >= 0 && ev.Events&(unix.EPOLLIN|ends) != 0 {
				c.readable(k, ev.Events&ends != 0)
			}
		}
	}
	return true
}

func (c *Client) wait(timeout int) []unix.EpollEvent {
	p, size := uintptr(unsafe.Pointer(&c.events)), uintptr(len(c.events))
	wait := timeout
	if !c.cfg.Exclusive {
		wait = 0
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_WAIT, uintptr(c.epoll), p, size, uintptr(wait), 0, 0)
	if errno == 0 && n == 0 && wait != timeout {
		n, _, errno = unix.Syscall6(unix.SYS_EPOLL_WAIT, uintptr(c.epoll), p, size, uintptr(timeout), 0, 0)
	}
	if errno != 0 {
		n = 0 // EINTR
	}
	return c.events[:n]
}

// readable reads until the socket is empty. A short read means that, unless the stream has ended after it: the edge of
// that end is this event.
func (c *Client) readable(k *conn, ends bool) {
	for k.fd >= 0 {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(k.fd), uintptr(unsafe.Pointer(&c.buf[0])), uintptr(len(c.buf)), 0, 0, 0)
		switch {
		case errno == unix.EAGAIN:
			return
		case errno != 0:
			c.end(k, errno.Error())
			return
		case n == 0:
			c.end(k, "closed by the server")
			return
		}
		if k.tls != nil {
			c.takeSealed(k, c.buf[:n])
		} else {
			c.take(k, c.buf[:n])
		}
		if int(n) < len(c.buf) && !ends {
			return
		}
	}
}

// take handles what was read, after an unfinished frame.
func (c *Client) take(k *conn, in []byte) {
	if k.part != nil && len(k.part.in) > 0 {
		k.part.in = append(k.part.in, in...)
		in = k.part.in
	}
	used := c.feed(k, in)
	if k.fd >= 0 {
		c.keep(k, in[used:])
	}
}

// feed handles all complete frames and returns their length.
func (c *Client) feed(k *conn, in []byte) (used int) {
	if k.state == stateGreeting {
		if used = c.greeted(k, in); used == 0 {
			return 0
		}
	}
	if c.cfg.Events {
		return used + c.streamed(k, in[used:])
	}
	for k.fd >= 0 && used < len(in) {
		op, final, payload, n, err := nextFrame(in[used:])
		if err == nil && n > 0 && op < opClose {
			op, final, payload, err = c.join(k, op, final, payload)
		}
		if err != nil {
			c.faults.count(&c.faults.Protocol, "user %d: %v", k.user, err)
			c.drop(k)
			return used
		}
		if n == 0 {
			return used
		}
		used += n
		if !final {
			continue
		}
		switch op {
		case opPing:
			c.pings++
			c.send(k, appendFrame(c.out[:0], opPong, payload, c.key()))
		case opPong:
		case opClose:
			if k.state == stateClosing {
				k.state = stateClosed // the end of the stream follows (section 7.1.1)
				return used
			}
			c.send(k, appendFrame(c.out[:0], opClose, payload, c.key()))
			c.end(k, fmt.Sprintf("close frame %x %q", payload[:min(2, len(payload))], payload[min(2, len(payload)):]))
		default:
			if err := c.given(k, op, payload); err != nil {
				c.faults.count(&c.faults.Protocol, "user %d: %v", k.user, err)
				c.drop(k)
				return used
			}
			k.joined()
		}
	}
	return used
}

// given handles a message of the server.
func (c *Client) given(k *conn, op byte, p []byte) error {
	if c.speaks == nil {
		c.phase.message(k, op, p)
		return nil
	}
	return c.heard(k, op, p)
}

// send sends p, with TLS if the connection has it.
func (c *Client) send(k *conn, p []byte) {
	c.out = p[:0]
	if k.tls != nil {
		k.tls.conn.Write(p) // an event reports the end
		return
	}
	c.sendWire(k, p)
}

// sendWire writes p, and queues what the socket does not accept.
func (c *Client) sendWire(k *conn, p []byte) {
	if k.part != nil && len(k.part.out) > 0 {
		k.part.out = append(k.part.out, p...)
		return
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(k.fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		if errno != unix.EAGAIN {
			return // an event reports the end
		}
		n = 0
	}
	if int(n) < len(p) {
		rest := c.unfinished(k)
		rest.out = append(rest.out, p[n:]...)
	}
}

func (c *Client) writable(k *conn) {
	if k.state == stateDialling {
		c.connected(k)
		return
	}
	rest := k.part.out
	k.part.out = nil
	c.sendWire(k, rest)
}

// drop closes the connection without telling the phase.
func (c *Client) drop(k *conn) {
	if k.state == stateOpen {
		c.live--
	}
	unix.RawSyscall(unix.SYS_CLOSE, uintptr(k.fd), 0, 0)
	c.finished(k)
	k.tls.release()
	k.tls = nil
	k.fd = -1
	k.gen++
	c.freed = append(c.freed, k.place)
}

func (c *Client) end(k *conn, why string) {
	c.drop(k)
	c.phase.ended(k, why)
}

// key returns a new masking key (RFC 6455 section 10.3: unpredictable).
func (c *Client) key() uint32 { return uint32(c.random.Uint64()) }
