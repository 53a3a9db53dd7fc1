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
	service *Service // immutable

	// handshake is nil when the handshake has succeeded. What follows it is written by
	// the handshake before, and belongs to the holder of the read turn afterwards.
	handshake atomic.Pointer[handshake]
	kept      *kept // tls.Conn of TLS 1.2; nil: rec is in use
	state     *tls.ConnectionState
	held      []byte // an incomplete record
	arrived   bool   // held was not given to Open yet
	gave      bool   // held was copied by the last Held
	noMemory  bool   // for held

	rec tlsrecord.Conn
}

var errNoMemory = errors.New("secure: memory is short, and an incomplete record must be kept")

// State returns the state of the connection after its handshake, until Forget is called.
func (l *Layer) State() *tls.ConnectionState { return l.state }

// Forget gives up the state: an idle connection does not need it.
func (l *Layer) Forget() { l.state = nil }

// Handshaking reports whether the handshake has not ended.
func (l *Layer) Handshaking() bool { return l.handshake.Load() != nil }

// Held implements netpoll.Layer.
func (l *Layer) Held(b []byte) (n, room int) {
	if h := l.handshake.Load(); h != nil {
		l.gave = false
		return 0, h.room()
	}
	l.gave = true
	n = copy(b, l.held)
	return n, len(b) - n
}

// Pending implements netpoll.Layer.
func (l *Layer) Pending() bool {
	if h := l.handshake.Load(); h != nil {
		return false
	}
	return l.arrived || l.noMemory || l.rec.Over() || l.kept != nil && l.kept.over != nil
}

// Open implements netpoll.Layer.
func (l *Layer) Open(b []byte) (plain []byte, err error) {
	if h := l.handshake.Load(); h != nil {
		if ours, err := h.received(b); ours {
			return nil, err
		}
	}
	if !l.gave { // the handshake has ended since Held was called; a turn follows, see finish
		l.arrived = true
		return nil, l.keep(append(l.held, b...))
	}
	l.arrived = false
	if l.noMemory {
		return nil, errNoMemory
	}
	var rest []byte
	if l.kept != nil {
		plain, rest, err = l.kept.open(b)
	} else {
		plain, rest, err = l.rec.Open(&l.service.busy, l.service.tick(), b)
	}
	if e := l.keep(rest); err == nil {
		err = e
	}
	return plain, err
}

// keep keeps an incomplete record. It may be part of held.
func (l *Layer) keep(rest []byte) error {
	if len(rest) == 0 && len(l.held) == 0 {
		return nil
	}
	if !l.service.memory.Hold(len(l.held), len(rest), limit.ForMessage()) {
		l.service.memory.Hold(len(rest), 0, limit.ForMessage())
		l.held, l.noMemory = nil, true
		return errNoMemory
	}
	if len(rest) == 0 {
		l.held = nil
		return nil
	}
	l.held = append(l.held[:0], rest...)
	return nil
}

// Seal implements netpoll.Layer. During the handshake it drops b: an answer to a request
// cannot be sent yet.
func (l *Layer) Seal(dst, b []byte) []byte {
	switch {
	case l.Handshaking():
		return dst
	case l.kept != nil:
		return l.kept.seal(dst, b)
	}
	return l.rec.Seal(&l.service.busy, l.service.tick(), dst, b)
}

// End implements netpoll.Layer.
func (l *Layer) End(dst []byte, why error) []byte {
	if h := l.handshake.Load(); h != nil {
		h.abort()
		return dst
	}
	if l.kept != nil {
		return l.kept.end(dst)
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
	l.service.memory.Hold(len(l.held), 0, limit.ForMessage())
	l.held, l.state = nil, nil
	if l.kept == nil {
		l.rec.Erase()
	}
}

var _ netpoll.Layer = (*Layer)(nil)
