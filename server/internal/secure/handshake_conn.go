package secure

import (
	"io"
	"net"
	"time"
)

// A handshake is the net.Conn that crypto/tls reads records from and writes records to.

// Read gives crypto/tls bytes of one record at a time, so that none of the next one is
// lost in its buffer.
func (h *handshake) Read(p []byte) (int, error) {
	if h.kept != nil {
		return h.kept.read(p)
	}
	n, resume, err := h.take(p)
	if resume {
		h.conn.Resume()
	}
	return n, err
}

func (h *handshake) take(p []byte) (n int, resume bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.left == 0 && len(h.in) < recordHeaderLen || len(h.in) == 0 {
		if h.ended {
			return 0, false, io.EOF
		}
		h.arrived.Wait()
	}
	if h.ended {
		return 0, false, io.EOF
	}
	if h.left == 0 {
		h.left, _ = recordLen(h.in)
	}
	n = copy(p, h.in[:min(len(h.in), h.left)])
	h.left -= n
	if h.in = h.in[n:]; len(h.in) == 0 {
		h.in = nil
	}
	resume = h.paused && len(h.in) < maxUnread
	h.paused = h.paused && !resume
	return n, resume, nil
}

// Write sends bytes of the handshake.
func (h *handshake) Write(p []byte) (int, error) {
	if h.kept != nil {
		return h.kept.write(p)
	}
	h.sent = append(h.sent, p...)
	if !h.conn.WriteRaw(p).Delivered() {
		return 0, errGone
	}
	return len(p), nil
}

// RemoteAddr is for GetCertificate and the like, which see h as ClientHelloInfo.Conn.
func (h *handshake) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(h.owner.RemoteAddr()) }

// The rest of net.Conn. The owner of the connection keeps the deadline.

func (h *handshake) Close() error                     { return nil }
func (h *handshake) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (h *handshake) SetDeadline(time.Time) error      { return nil }
func (h *handshake) SetReadDeadline(time.Time) error  { return nil }
func (h *handshake) SetWriteDeadline(time.Time) error { return nil }
