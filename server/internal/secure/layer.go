package secure

import (
	"crypto/tls"
	"errors"
	"sync/atomic"

	"fanfare/netpoll"
	"fanfare/server/internal/limit"
	"fanfare/server/internal/tlsrecord"
)

// Layer is the netpoll.Layer of one connection.
type Layer struct {
	via     netpoll.Via // netpoll's
	service *Service    // immutable

	// handshake is nil when the handshake has succeeded. What follows it is written by
	// the handshake before.
	handshake atomic.Pointer[handshake]
	result    atomic.Pointer[result] // of the handshake; nil after Forget with TLS 1.3, and after Release
	rest      *rest                  // nil between records. Owned by the holder of the read turn.
	rec       tlsrecord.Conn
}

// result is what the handshake leaves besides rec. It is immutable.
type result struct {
	kept  *kept // tls.Conn of TLS 1.2; nil: rec is in use
	state *tls.ConnectionState
}

// rest is an incomplete record.
type rest struct {
	held     []byte
	arrived  bool // held came during the handshake, and was not given to Open
	given    bool // held was copied by Held
	noMemory bool // for held
}

var errNoMemory = errors.New("secure: memory is short, and an incomplete record must be kept")

// State returns the state of the connection after its handshake, until Forget is called.
func (l *Layer) State() *tls.ConnectionState {
	if r := l.result.Load(); r != nil {
		return r.state
	}
	return nil
}

// Forget gives up the state: an idle connection does not need it.
func (l *Layer) Forget() {
	if k := l.kept(); k != nil {
		l.result.Store(&result{kept: k})
		return
	}
	l.result.Store(nil)
}

// kept returns the tls.Conn of TLS 1.2; nil if rec is in use.
func (l *Layer) kept() *kept {
	if r := l.result.Load(); r != nil {
		return r.kept
	}
	return nil
}

// Handshaking reports whether the handshake has not ended.
func (l *Layer) Handshaking() bool { return l.handshake.Load() != nil }

// Held implements netpoll.Layer.
func (l *Layer) Held(b []byte) (n, room int) {
	if h := l.handshake.Load(); h != nil {
		return 0, h.room()
	}
	if r := l.rest; r != nil {
		n = copy(b, r.held)
		r.given = true
	}
	return n, len(b) - n
}

// Pending implements netpoll.Layer.
func (l *Layer) Pending() bool {
	if h := l.handshake.Load(); h != nil {
		return false
	}
	if k := l.kept(); k != nil && k.over != nil {
		return true
	}
	return l.rest != nil && (l.rest.arrived || l.rest.noMemory) || l.rec.Over()
}

// Open implements netpoll.Layer.
func (l *Layer) Open(b []byte) (plain []byte, err error) {
	if h := l.handshake.Load(); h != nil {
		if ours, err := h.received(b); ours {
			return nil, err
		}
	}
	if r := l.rest; r != nil {
		if len(r.held) > 0 && !r.given { // the handshake has ended since Held was called; a turn follows, see finish
			return nil, l.keep(append(r.held, b...))
		}
		r.arrived = false
		if r.noMemory {
			return nil, errNoMemory
		}
	}
	var incomplete []byte
	if k := l.kept(); k != nil {
		plain, incomplete, err = k.open(b)
	} else {
		plain, incomplete, err = l.rec.Open(&l.service.busy, l.service.tick(), b)
	}
	if e := l.keep(incomplete); err == nil {
		err = e
	}
	return plain, err
}

// keep keeps an incomplete record. It may be part of held.
func (l *Layer) keep(b []byte) error {
	r := l.rest
	if r == nil {
		if len(b) == 0 {
			return nil
		}
		r = new(rest)
		l.rest = r
	}
	r.given = false
	if !l.service.memory.Hold(len(r.held), len(b), limit.ForMessage()) {
		l.service.memory.Hold(len(b), 0, limit.ForMessage())
		r.held, r.noMemory = nil, true
		return errNoMemory
	}
	if len(b) == 0 {
		l.rest = nil
		return nil
	}
	r.held = append(r.held[:0], b...)
	return nil
}

// Seal implements netpoll.Layer. During the handshake it drops b: an answer to a request
// cannot be sent yet.
func (l *Layer) Seal(dst, b []byte) []byte {
	if l.Handshaking() {
		return dst
	}
	if k := l.kept(); k != nil {
		return k.seal(dst, b)
	}
	return l.rec.Seal(&l.service.busy, l.service.tick(), dst, b)
}

// End implements netpoll.Layer.
func (l *Layer) End(dst []byte, why error) []byte {
	if h := l.handshake.Load(); h != nil {
		h.abort()
		return dst
	}
	if k := l.kept(); k != nil {
		return k.end(dst)
	}
	alert := tlsrecord.CloseNotify
	var violation *tlsrecord.Error
	var fromPeer *tlsrecord.PeerAlert
	switch {
	case errors.As(why, &violation):
		alert = violation.Alert
	case errors.As(why, &fromPeer):
		return dst // RFC 8446 section 6.2
	case errors.Is(why, errNoMemory):
		alert = tlsrecord.InternalError
	}
	return l.rec.SealAlert(&l.service.busy, l.service.tick(), dst, alert)
}

// Release implements netpoll.Layer.
func (l *Layer) Release() {
	if h := l.handshake.Load(); h != nil && h.end() {
		return // its goroutine releases what it makes
	}
	if l.rest != nil {
		l.service.memory.Hold(len(l.rest.held), 0, limit.ForMessage())
		l.rest = nil
	}
	if l.kept() == nil {
		l.rec.Erase()
	}
	// What crypto/tls has made refers to its own secrets, which cannot be overwritten. The Layer of a
	// connection that has ended may stay in use, as in the last batch of an idle engine.
	l.result.Store(nil)
}

var _ netpoll.Layer = (*Layer)(nil)
