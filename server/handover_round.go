package server

import (
	"context"
	"fmt"
	"time"

	"fanfare/netpoll"
	"fanfare/server/internal/handover"
)

// moveAll moves the sessions in rounds, until only those are left that cannot move.
func (g *giver) moveAll(ctx context.Context) error {
	until := time.Now().Add(patience)
	size := g.srv.roundSize
	refused := make(map[*Session]bool)
	for {
		all := g.connections(readingProxyHeader)
		kept := all[:0]
		for _, s := range all {
			if !refused[s] {
				kept = append(kept, s)
			}
		}
		if all = kept; len(all) == 0 && !g.busy() {
			return nil
		}
		moved := 0
		for len(all) > 0 {
			n := min(size, len(all))
			began := time.Now()
			m, err := g.round(ctx, all[:n], refused)
			if err != nil {
				return err
			}
			if took := time.Since(began); took > 0 && m > 0 {
				size = min(max(int(float64(n)*float64(roundAim)/float64(took)), 64), maxRound, 2*n)
			}
			all, moved = all[n:], moved+m
		}
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %w", ErrHandOver, ctx.Err())
		case time.Now().After(until):
			return nil
		case moved == 0:
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}
}

// busy reports whether there are connections that may become movable soon.
func (g *giver) busy() (busy bool) {
	g.srv.engine.Each(func(h netpoll.Handler) {
		if h, ok := h.(handler); ok && h.s.conn.NetConn() == nil {
			p := h.s.phase()
			busy = busy || p == deciding || p == identifying || p == admitting || h.s.tlsHandshaking()
		}
	})
	return busy
}

// prepared is the payload of handover.Prepared.
type prepared struct {
	Refused map[uint64]string `json:"refused,omitzero"` // why, by ID
}

// committed is the payload of handover.Commit.
type committed struct {
	Without []uint64 `json:"without,omitzero"` // the sessions that stay
}

// round moves sessions, and returns how many have moved. It adds a session that the other
// process cannot serve to refused.
func (g *giver) round(ctx context.Context, all []*Session, refused map[*Session]bool) (moved int, err error) {
	srv := g.srv
	if err := g.sendDescriptors(ctx, opened(all)); err != nil {
		return 0, err
	}
	began := time.Now()
	frozen := srv.freeze(all)
	if len(frozen) == 0 {
		return 0, nil
	}
	srv.lockMoving()
	defer srv.moving.Unlock()
	states := make([]sessionState, 0, len(frozen))
	kept := frozen[:0]
	for _, s := range frozen {
		st, ok := s.exportState()
		if !ok {
			s.conn.Thaw()
			continue
		}
		kept, states = append(kept, s), append(states, st)
	}
	if frozen = kept; len(frozen) == 0 {
		return 0, nil
	}
	defer func() {
		if err != nil {
			for i, s := range frozen {
				s.takeBack(&states[i])
			}
		}
	}()
	// The descriptors of sessions that are not open were not sent before: a plain request may
	// end its connection, which a duplicate in the other process would keep open.
	if err := g.sendDescriptors(ctx, frozen); err != nil {
		return 0, err
	}
	if err := g.sendStates(states); err != nil {
		return 0, err
	}
	var answer prepared
	if err := g.send(handover.Prepare, nil); err != nil {
		return 0, err
	}
	if err := g.expect(ctx, handover.Prepared, &answer, roundTimeout); err != nil {
		return 0, err
	}
	c := committed{}
	for id := range answer.Refused {
		c.Without = append(c.Without, id)
	}
	if err := g.send(handover.Commit, &c); err != nil {
		return 0, err
	}
	// From here on the other process has them, whatever happens.
	for i, s := range frozen {
		if why, no := answer.Refused[s.ID()]; no {
			srv.log.Warn("session is not handed over", "err", why, "user", s.User())
			refused[s] = true
			s.takeBack(&states[i])
			continue
		}
		delete(g.sent, s)
		s.abandon()
		moved++
	}
	g.connect()
	g.result.Rounds++
	g.result.Sessions += moved
	g.result.Longest = max(g.result.Longest, time.Since(began))
	return moved, nil
}

func opened(all []*Session) (list []*Session) {
	for _, s := range all {
		if s.phase() >= open {
			list = append(list, s)
		}
	}
	return list
}

// freeze acquires the read turns of sessions.
func (srv *Server) freeze(all []*Session) (frozen []*Session) {
	conns := make([]*netpoll.Conn, len(all))
	of := make(map[*netpoll.Conn]*Session, len(all))
	for i, s := range all {
		conns[i] = &s.conn
		of[&s.conn] = s
	}
	for _, c := range srv.engine.Freeze(conns, freezeTime) {
		frozen = append(frozen, of[c])
	}
	return frozen
}

// lockMoving locks moving without making new pushes wait for one that is in progress, at
// first: a broadcast to many sessions takes long.
func (srv *Server) lockMoving() {
	for range 50 {
		if srv.moving.TryLock() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	srv.moving.Lock()
}

// sendStates sends the states in messages of a moderate size.
func (g *giver) sendStates(states []sessionState) error {
	const most = 256
	for len(states) > 0 {
		n := min(most, len(states))
		if err := g.send(handover.Sessions, states[:n]); err != nil {
			return err
		}
		states = states[n:]
	}
	return nil
}

// connect has pushes reach the sessions of the other process, too. The caller holds moving. The
// nodes of a cluster reach each other without that.
func (g *giver) connect() {
	if g.srv.cluster == nil {
		g.srv.peer = g.link
	}
}
