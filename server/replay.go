package server

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/gobwas/ws"

	"fanfare/frame"
	"fanfare/netpoll"
	"fanfare/server/inbox"
)

// advance writes what is stored for the session and was not sent, as far as the
// window allows: the user's inbox first, then the topics. The turn is held. It may
// block in the store, and returns what that says: errors are worth another try
// later.
func (m *mailbox) advance(ctx context.Context, u *unread) error {
	m.settle()
	recheck := m.recheck.Swap(false)
	for _, t := range m.all() {
		if recheck && t.known {
			last, err := u.store.Last(ctx, t.box)
			if err != nil {
				m.recheck.Store(true)
				return err
			}
			t.expect(last)
		}
		if err := m.bring(ctx, u, t); err != nil {
			m.lookedAt(recheck)
			return err
		}
		if !m.room(u) {
			m.lookedAt(recheck)
			if m.ping(); m.asked == nil {
				return errNoRoom // no answer will say that there is
			}
			return nil
		}
	}
	m.letGo()
	m.ping()
	return nil
}

// lookedAt keeps word that was left where it was not followed to the end.
func (m *mailbox) lookedAt(recheck bool) {
	if recheck {
		m.recheck.Store(true)
	}
}

var errNoRoom = errors.New("server: the queue is full of other messages")

// bring is advance for one box.
func (m *mailbox) bring(ctx context.Context, u *unread, t *track) error {
	if !t.known {
		if err := m.locate(ctx, u, t); err != nil || !t.known {
			return err
		}
	}
	for m.session.phase() == open && m.room(u) && !t.ended.Load() {
		switch {
		case len(t.rest) > 0:
			msg, err := u.store.At(ctx, t.box, t.rest[0])
			if err != nil && !errors.Is(err, inbox.ErrDamaged) {
				return err
			}
			if t.rest = t.rest[1:]; msg == nil {
				t.gap = true // dropped meanwhile, or damaged
				continue
			}
			m.write(t, msg)
		case t.want.Load() > t.sent:
			if err := m.read(ctx, u, t); err != nil {
				return err
			}
		default:
			m.greet(t)
			return nil
		}
	}
	return nil
}

// locate finds out from where the session is to get messages. A mailbox with
// nothing but an inbox, of a plain session that has nothing to get, dies.
func (m *mailbox) locate(ctx context.Context, u *unread, t *track) error {
	if n := u.srv.nodes; n != nil {
		// What is stored from now on is told to this node; what was, is there.
		to := inbox.ToUser(m.session.User())
		if t.topic != "" {
			to = inbox.ToTopic(t.topic)
		}
		if err := n.routes.Reach(ctx, to); err != nil {
			return err
		}
	}
	last, err := u.store.Last(ctx, t.box)
	if err != nil {
		return err
	}
	after, err := m.begin(ctx, u, t, last)
	if err != nil {
		return err
	}
	if t.topic == "" && !m.session.enveloped() && last <= after && t.want.Load() <= after {
		m.letGo()
		if m.die() {
			u.remove(m)
			return nil
		}
	}
	t.known, t.sent, t.pinged = true, after, after
	t.expect(last)
	return nil
}

// begin returns behind which offset the session is to get messages: the one it
// names; or that up to where its user has read on any device; or, of a topic that
// the user did not follow before, the end at the time when this session did.
func (m *mailbox) begin(ctx context.Context, u *unread, t *track, last uint64) (after uint64, err error) {
	if t.resumes {
		switch {
		case t.resume == 0 || last > t.resume:
			return t.resume, nil
		case last == t.resume:
			return last, nil
		}
		// Nothing is there; whether something was can still be asked.
		found, err := u.store.Read(ctx, t.box, t.resume, 1)
		if err != nil {
			return 0, err
		}
		t.gap = found.Gap
		newest, err := u.store.Newest(ctx, t.box)
		if err != nil || t.resume <= newest {
			return t.resume, err
		}
		t.gap = true // it had that from another store
	}
	if t.topic == "" && last == 0 {
		return 0, nil
	}
	user := m.session.User()
	after, known, err := u.store.Acked(ctx, t.box, user)
	if err != nil {
		return 0, err
	}
	if t.topic != "" && !known {
		// Something may have been stored since the session follows.
		if after, err = u.store.Before(ctx, t.box, t.since.Add(-u.slack())); err != nil {
			return 0, err
		}
		// Stored before anything is promised: whoever comes back elsewhere is to go on
		// from here, and not from then.
		if err := u.store.AckNow(ctx, t.box, user, after); err != nil {
			return 0, err
		}
	}
	t.place.Store(after)
	return after, nil
}

// slack is what the clocks of the machines that share a NATS may differ by, so that
// nobody misses what is stored at the moment of following. The same clock has none.
func (u *unread) slack() time.Duration {
	if u.store.Embedded() {
		return 0
	}
	return 100 * time.Millisecond
}

// behindTries is how often a message that must be there is looked for: a replica
// may be behind. Then it was dropped, or purged.
const behindTries = 5

var errBehind = errors.New("server: the store does not have yet what it has")

func (m *mailbox) read(ctx context.Context, u *unread, t *track) error {
	want := t.want.Load()
	found, err := u.store.Read(ctx, t.box, t.sent, u.window)
	if errors.Is(err, inbox.ErrDamaged) {
		u.srv.log.Error("unread messages cannot be read", "user", m.session.User(), "topic", t.topic, "err", err)
		found, err = inbox.Unread{Gap: true}, nil
		t.tries = behindTries
	}
	if err != nil {
		return err
	}
	if len(found.Messages) == 0 {
		if t.tries++; t.tries <= behindTries {
			return errBehind
		}
		t.sent, t.gap = want, true
	}
	t.tries = 0
	t.gap = t.gap || found.Gap
	t.rest = found.Rest
	m.greet(t)
	for i := range found.Messages {
		m.write(t, &found.Messages[i])
	}
	return nil
}

// write sends one message, unless it has expired: by the clock of this machine,
// as it was stored by that of one that runs the same service. Clients' clocks are
// never asked.
func (m *mailbox) write(t *track, msg *inbox.Message) {
	if msg.Expired(time.Now()) {
		t.sent, t.gap = msg.Offset, true
		return
	}
	op := Text
	if msg.Binary {
		op = Binary
	}
	m.send(t, frame.Prepare(op, msg.Payload), msg.Offset)
}

// messageCost is what a message counts beside its payload, which may be empty.
const messageCost = 32

// send writes the frame of a message. What does not fit ends the session; the
// message stays unread.
func (m *mailbox) send(t *track, p *frame.Prepared, offset uint64) {
	s := m.session
	if s.enveloped() {
		switch gap := t.gap; {
		case gap, t.topic == "":
			p = envelopeAt(p, t.topic, offset, gap)
		default: // the same for all followers
			p = p.Twin(func(p *frame.Prepared) *frame.Prepared { return envelopeAt(p, t.topic, offset, false) })
		}
	}
	t.expect(offset) // of which this node may not have been told yet
	t.sent, t.gap = offset, false
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
// time. Its payload is the offset of the user's last message; with topics, whose
// offsets are others, a serial number tells one question from another.
func (m *mailbox) ping() {
	if m.asked != nil || m.flight == 0 || m.session.phase() != open {
		return
	}
	q := &question{flight: m.flight}
	plain := true
	for _, t := range m.all() {
		if t.sent != t.pinged {
			t.pinged = t.sent
			plain = plain && t.topic == ""
			q.marks = append(q.marks, mark{t, t.sent})
		}
	}
	if len(q.marks) == 0 {
		return
	}
	q.payload = strconv.AppendUint(nil, q.marks[len(q.marks)-1].offset, 10)
	if !plain {
		m.serial++
		q.payload = strconv.AppendUint(append(q.payload, '.'), m.serial, 10)
	}
	m.asked = q
	m.question.Store(q)
	var buf [2 + 41]byte
	s := m.session
	s.outcome(s.conn.WriteBorrowed(frame.AppendFrame(buf[:0], ws.OpPing, q.payload), netpoll.Control))
}

// settle takes note of an answer.
func (m *mailbox) settle() {
	if m.asked != nil && m.question.Load() == nil {
		m.flight -= m.asked.flight
		m.asked, m.stuck = nil, false
	}
}

// greet is the first thing that a client of fanfare.v1 hears of a box.
func (m *mailbox) greet(t *track) {
	if t.greeted {
		return
	}
	t.greeted = true
	if !m.session.enveloped() {
		return
	}
	if t.topic == "" {
		m.session.hello(t.sent, t.gap)
	} else {
		m.session.following(t.topic, t.sent, t.gap)
	}
	t.gap = false
}

// settled tells whether there is nothing to send. The turn is held.
func (m *mailbox) settled() bool {
	if m.session.state.Load()&holdBit != 0 || m.recheck.Load() {
		return false
	}
	for _, t := range m.all() {
		if !t.known || len(t.rest) > 0 || t.want.Load() > t.sent {
			return false
		}
	}
	return true
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
	q := m.question.Load()
	if q == nil || !bytes.Equal(payload, q.payload) || !m.question.CompareAndSwap(q, nil) {
		return false // an answer to nothing that was asked
	}
	if !s.enveloped() {
		for _, mk := range q.marks {
			mk.track.acknowledged(u, s.User(), mk.offset)
		}
	}
	if ok, _ := m.take(); !ok {
		return true // the holder of the turn looks again
	}
	m.settle()
	if m.settled() {
		m.ping()
		u.give(m)
		return true
	}
	u.submit(m)
	return true
}
