package server

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/gobwas/ws"

	"fanfare/frame"
	"fanfare/netpoll"
	"fanfare/server/inbox"
)

// advance writes what is stored for the mailbox's user and was not sent, as far
// as the window allows. The turn is held. It may block in the store, and returns
// what that says: errors are worth another try later.
func (m *mailbox) advance(ctx context.Context, u *unread) error {
	m.settle()
	recheck := m.recheck.Swap(false)
	if !m.known {
		if err := m.locate(ctx, u); err != nil || !m.known {
			return err
		}
	} else if recheck {
		last, err := u.store.Last(ctx, m.box)
		if err != nil {
			m.recheck.Store(true)
			return err
		}
		m.expect(last)
	}
	for m.session.phase() == open && m.room(u) {
		switch {
		case len(m.rest) > 0:
			msg, err := u.store.At(ctx, m.box, m.rest[0])
			if err != nil && !errors.Is(err, inbox.ErrDamaged) {
				return err
			}
			if m.rest = m.rest[1:]; msg == nil {
				m.gap = true // dropped meanwhile, or damaged
				continue
			}
			m.write(msg)
		case m.want.Load() > m.sent:
			if err := m.read(ctx, u); err != nil {
				return err
			}
		default:
			m.greet()
			m.ping()
			return nil
		}
	}
	m.ping()
	return nil
}

// locate finds out from where the session is to get messages. A plain one that
// has nothing to get needs no mailbox: it dies.
func (m *mailbox) locate(ctx context.Context, u *unread) error {
	if n := u.srv.nodes; n != nil {
		// What is stored from now on is told to this node; what was, is there.
		if err := n.routes.Reach(ctx, inbox.ToUser(m.session.User())); err != nil {
			return err
		}
	}
	last, err := u.store.Last(ctx, m.box)
	if err != nil {
		return err
	}
	after := m.resume
	if !m.resumes && last > 0 {
		if after, err = u.store.Acked(ctx, m.session.User()); err != nil {
			return err
		}
	}
	if !m.session.enveloped() && last <= after && m.want.Load() <= after && m.turn.CompareAndSwap(held, dead) {
		u.remove(m)
		return nil
	}
	m.known, m.sent = true, after
	m.expect(last)
	if last <= after && m.resumes && after > 0 {
		// Nothing is there; whether something was can still be asked.
		found, err := u.store.Read(ctx, m.box, after, 1)
		if err != nil {
			m.known = false
			return err
		}
		m.gap = found.Gap
	}
	return nil
}

// behindTries is how often a message that must be there is looked for: a replica
// may be behind. Then it was dropped, or purged.
const behindTries = 5

var errBehind = errors.New("server: the store does not have yet what it has")

func (m *mailbox) read(ctx context.Context, u *unread) error {
	want := m.want.Load()
	found, err := u.store.Read(ctx, m.box, m.sent, u.window)
	if errors.Is(err, inbox.ErrDamaged) {
		u.srv.log.Error("unread messages cannot be read", "user", m.session.User(), "err", err)
		found, err = inbox.Unread{Gap: true}, nil
		m.tries = behindTries
	}
	if err != nil {
		return err
	}
	if len(found.Messages) == 0 {
		if m.tries++; m.tries <= behindTries {
			return errBehind
		}
		m.sent, m.gap = want, true
	}
	m.tries = 0
	m.gap = m.gap || found.Gap
	m.rest = found.Rest
	m.greet()
	for i := range found.Messages {
		m.write(&found.Messages[i])
	}
	return nil
}

// write sends one message, unless it has expired.
func (m *mailbox) write(msg *inbox.Message) {
	if msg.Expired(time.Now()) {
		m.sent, m.gap = msg.Offset, true
		return
	}
	op := Text
	if msg.Binary {
		op = Binary
	}
	m.send(frame.Prepare(op, msg.Payload), msg.Offset)
}

// messageCost is what a message counts beside its payload, which may be empty.
const messageCost = 32

// send writes the frame of a message. What does not fit ends the session; the
// message stays unread.
func (m *mailbox) send(p *frame.Prepared, offset uint64) {
	s := m.session
	if s.enveloped() {
		p = envelopeAt(p, offset, m.gap)
	}
	m.sent, m.gap = offset, false
	before := s.Queued()
	if s.outcome(s.conn.Write(p.Plain(), netpoll.CloseOnFull)) != nil {
		return
	}
	m.flight += p.Len() + messageCost
	if s.Queued() > before {
		m.stuck = true // until the client has read it
	}
	s.srv().stats.replayed.Add(1)
}

// room tells whether the client keeps up: at most a window of bytes is on the
// way, so that messages that are stored never fill the queue.
func (m *mailbox) room(u *unread) bool {
	return m.flight < u.window && !m.stuck && m.session.Queued() < u.window
}

// ping asks the client to say when everything up to here has arrived: conforming
// clients answer pings in order (RFC 6455, 5.5.3). One such question is open at a
// time.
func (m *mailbox) ping() {
	if pinged := m.pinged.Load(); m.sent == pinged || pinged != m.ponged.Load() || m.flight == 0 || m.session.phase() != open {
		return
	}
	m.asked = m.flight
	m.pinged.Store(m.sent)
	var buf [2 + 20]byte
	s := m.session
	s.outcome(s.conn.WriteBorrowed(frame.AppendFrame(buf[:0], ws.OpPing, strconv.AppendUint(nil, m.sent, 10)), netpoll.Control))
}

// settle takes note of an answer.
func (m *mailbox) settle() {
	if m.asked > 0 && m.pinged.Load() == m.ponged.Load() {
		m.flight -= m.asked
		m.asked, m.stuck = 0, false
	}
}

// greet is the first thing that a client of fanfare.v1 hears.
func (m *mailbox) greet() {
	if m.session.enveloped() && !m.greeted {
		m.greeted = true
		m.session.hello(m.sent, m.gap)
		m.gap = false
	}
}

// ponged is called in the read turn for a pong that is not empty. It reports
// whether that answers a ping of the session's mailbox.
func (s *Session) ponged(payload []byte) bool {
	u := s.srv().unread
	if u == nil {
		return false
	}
	m := u.find(s)
	if m == nil {
		return false
	}
	offset, err := strconv.ParseUint(string(payload), 10, 64)
	if err != nil || offset != m.pinged.Load() || offset == m.ponged.Load() {
		return false // an answer to nothing that was asked
	}
	m.ponged.Store(offset)
	if !s.enveloped() {
		u.store.Ack(s.User(), offset)
	}
	if ok, _ := m.take(); !ok {
		return true // the holder of the turn looks again
	}
	m.settle()
	if m.known && len(m.rest) == 0 && m.want.Load() <= m.sent {
		m.ping()
		u.give(m)
		return true
	}
	u.submit(m)
	return true
}
