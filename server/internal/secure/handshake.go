package secure

import (
	"crypto/tls"
	"errors"
	"fmt"
	"sync"

	"fanfare/netpoll"
	"fanfare/server/internal/limit"
)

const (
	recordHeaderLen     = 5
	recordTypeHandshake = 22
	// maxUnread bounds the bytes that were received and crypto/tls has not read yet. After
	// its last message a client sends whatever it wants, and the layer keeps what is left
	// at the end: netpoll.MaxHeld is more.
	maxUnread = 16 << 10
	// maxIgnored bounds the bytes that arrive after a handshake has failed.
	maxIgnored = 64 << 10
)

// Errors of handshakes that crypto/tls does not see.
var (
	errNotTLS = errors.New("the client does not speak TLS")
	errHTTP   = errors.New("client sent an HTTP request to an HTTPS server")
	errGone   = errors.New("secure: the connection has ended")
)

// handshake is a connection's handshake, and the net.Conn that crypto/tls sees. It goes
// through these states, each of which only the function named can begin:
//
//	gathering → running (received) → succeeded or failed (finish)
//	gathering → failed (received)
type handshake struct {
	// Immutable.
	layer *Layer
	conn  *netpoll.Conn
	owner Owner

	mu      sync.Mutex
	arrived sync.Cond
	phase   phase      // guarded by mu
	paused  bool       // nothing is received until resume. guarded by mu
	ended   bool       // the connection has, or is about to; guarded by mu
	in      []byte     // received, not read by crypto/tls yet. guarded by mu
	left    int        // bytes of the record that crypto/tls reads. guarded by mu
	cost    int        // what memory counts. guarded by mu
	ignored int        // bytes received after the failure. guarded by mu
	job     *limit.Job // guarded by mu

	// Owned by the read turn.
	prefaced bool   // what precedes the ClientHello has arrived
	before   []byte // a part of that

	// Owned by the goroutine of the handshake; kept is immutable afterwards.
	secrets map[string][]byte
	sent    []byte // all records
	kept    *kept
}

type phase uint8

const (
	gathering phase = iota
	running
	succeeded
	failed
)

func newHandshake(l *Layer, c *netpoll.Conn, owner Owner) *handshake {
	h := &handshake{layer: l, conn: c, owner: owner}
	h.arrived.L = &h.mu
	return h
}

// received takes bytes of the connection. It reports false if they are not part of the
// handshake, because that has succeeded.
func (h *handshake) received(b []byte) (ours bool, err error) {
	h.mu.Lock()
	if h.phase == succeeded {
		h.mu.Unlock()
		return false, nil
	}
	var start bool
	if !h.prefaced && h.phase == gathering && !h.ended {
		h.mu.Unlock()
		if b, err = h.preface(b); err != nil {
			h.fail(err)
			return true, nil
		}
		h.mu.Lock()
	}
	if h.prefaced || h.phase != gathering || h.ended {
		start, err = h.receivedLocked(b)
	}
	h.mu.Unlock()
	if start && err == nil {
		if rejected := h.owner.Allow(); rejected != nil {
			err = &notAllowedError{rejected}
		} else {
			h.start()
		}
	}
	if err == errGone {
		return true, err
	}
	if err != nil {
		h.fail(err)
	}
	return true, nil
}

// preface gives the owner what precedes the ClientHello, and returns what follows.
func (h *handshake) preface(b []byte) (rest []byte, err error) {
	if len(b) == 0 {
		return nil, nil
	}
	if len(h.before) > 0 {
		b = append(h.before, b...)
	}
	n, err := h.owner.Preface(b)
	if err != nil || n >= 0 {
		h.before, h.prefaced = nil, err == nil
		return b[n:], err
	}
	h.before = append([]byte(nil), b...)
	h.mu.Lock()
	ok := h.ended || h.holdLocked(cap(h.before))
	h.mu.Unlock()
	if !ok {
		return nil, errNoMemory
	}
	return nil, nil
}

// receivedLocked keeps b, and reports whether the ClientHello is complete.
func (h *handshake) receivedLocked(b []byte) (start bool, err error) {
	if h.phase == failed || h.ended {
		if h.ignored += len(b); h.ignored > maxIgnored {
			return false, errGone
		}
		return false, nil
	}
	h.in = append(h.in, b...)
	switch {
	case !h.holdLocked(cap(h.in) + h.base()):
		return false, errNoMemory
	case h.phase == running:
		h.arrived.Signal()
		return false, nil
	case len(h.in) == 0:
		return false, nil
	case h.in[0] != recordTypeHandshake && speaksHTTP(h.in):
		return false, errHTTP
	case h.in[0] != recordTypeHandshake:
		return false, errNotTLS
	}
	return h.firstRecordLocked(), nil
}

// room returns how many bytes may be received. If that is 0, resume follows.
func (h *handshake) room() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.phase == succeeded:
		return 0 // the layer is about to go on without h, see finish
	case h.phase == failed || h.ended:
		return maxUnread // which is ignored
	}
	room := maxUnread - len(h.in)
	h.paused = room == 0
	return room
}

// base is what the handshake costs besides its unread bytes.
func (h *handshake) base() int {
	if h.phase == running {
		return handshakeCost
	}
	return 0
}

// firstRecordLocked reports whether a whole record has arrived, or as much of it as may be
// unread. A ClientHello may have more than one; crypto/tls waits for those.
func (h *handshake) firstRecordLocked() bool {
	n, _ := recordLen(h.in) // crypto/tls rejects one that is too long
	return n > 0 && len(h.in) >= min(n, maxUnread)
}

// holdLocked counts n bytes as the cost of the handshake.
func (h *handshake) holdLocked(n int) bool {
	ok := h.layer.service.memory.Hold(h.cost, n, limit.ForRequest())
	h.cost = n
	return ok
}

// start gives the handshake to the pool.
func (h *handshake) start() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.phase != gathering || h.ended {
		return
	}
	h.phase = running
	h.job = h.layer.service.handshakes.Go(h.run)
}

// run does the handshake, on a goroutine of the pool.
func (h *handshake) run() {
	h.mu.Lock()
	ok := h.holdLocked(cap(h.in) + handshakeCost)
	h.mu.Unlock()
	if !ok {
		h.finish(nil, errNoMemory)
		return
	}
	tc := tls.Server(h, h.config())
	h.finish(tc, tc.Handshake())
}

// config is the configuration of this handshake: that of the service, with a
// KeyLogWriter.
func (h *handshake) config() *tls.Config {
	h.secrets = make(map[string][]byte, 2)
	cfg := h.logKeys(h.layer.service.config())
	if choose := cfg.GetConfigForClient; choose != nil {
		cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			chosen, err := choose(hello)
			if chosen != nil {
				chosen = h.logKeys(chosen)
			}
			return chosen, err
		}
	}
	return cfg
}

// finish ends the handshake.
func (h *handshake) finish(tc *tls.Conn, err error) {
	var state tls.ConnectionState
	if err == nil {
		state = tc.ConnectionState()
		err = h.install(tc, &state)
	}
	for _, secret := range h.secrets {
		clear(secret)
	}
	h.secrets, h.sent = nil, nil
	if err != nil {
		h.fail(err)
		return
	}
	l := h.layer
	h.mu.Lock()
	h.holdLocked(0)
	if h.ended {
		h.mu.Unlock()
		if h.kept == nil {
			l.rec.Erase()
		}
		return
	}
	l.service.stats.succeeded(&state)
	l.result.Store(&result{h.kept, &state})
	if len(h.in) > 0 {
		l.rest = new(rest)
		l.rest.arrived = l.keep(h.in) == nil // else Pending reports noMemory
	}
	h.in, h.job, h.phase = nil, nil, succeeded
	l.handshake.Store(nil)
	h.mu.Unlock()
	h.conn.Resume()
}

// install prepares the layer for what follows the handshake.
func (h *handshake) install(tc *tls.Conn, state *tls.ConnectionState) error {
	l := h.layer
	read, write := h.secrets[clientSecret], h.secrets[serverSecret]
	if state.Version != tls.VersionTLS13 || read == nil || write == nil {
		return h.keep(tc)
	}
	h.mu.Lock()
	left := h.left
	h.mu.Unlock()
	if left > 0 {
		return fmt.Errorf("secure: crypto/tls has left %d bytes of a record", left)
	}
	if l.rec.Init(state.CipherSuite, read, write) != nil {
		l.rec.Erase()
		return h.keep(tc)
	}
	l.rec.Skip(h.sent)
	return nil
}

// keep keeps a tls.Conn whose records package tlsrecord cannot take over.
func (h *handshake) keep(tc *tls.Conn) error {
	h.kept = &kept{tls: tc}
	return nil
}

// fail ends a handshake that has not succeeded.
func (h *handshake) fail(err error) {
	h.mu.Lock()
	h.in = nil
	h.holdLocked(0)
	was := h.phase
	h.phase = failed
	ended, paused := h.ended, h.paused
	h.mu.Unlock()
	if was == running || was == gathering && !ended && h.prefaced {
		h.layer.service.stats.failed(err)
	}
	if paused {
		h.conn.Resume() // the end of the stream may be waiting
	}
	if was == failed || ended {
		return
	}
	if err == errHTTP {
		h.conn.WriteRaw([]byte(plainHTTPAnswer))
	}
	h.owner.Failed(err)
}

// abort makes crypto/tls give up, because nothing can be sent any more.
func (h *handshake) abort() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.abortLocked()
}

func (h *handshake) abortLocked() {
	h.ended = true
	if h.job != nil && h.job.Cancel() || h.phase == gathering {
		h.in = nil
		h.holdLocked(0)
	}
	h.arrived.Broadcast()
}

// end is abort for a connection that is over. It reports false if the handshake has
// succeeded.
func (h *handshake) end() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.phase == succeeded {
		return false
	}
	h.abortLocked()
	return true
}
