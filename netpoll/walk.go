package netpoll

// Cursor is a place in a walk over the connections of an Engine. The zero Cursor is the
// beginning. It refers to no connection, so a walk that lasts for hours keeps none alive.
type Cursor struct {
	fd      int32  // the next descriptor
	streams bool   // descriptors are done, connections without one follow
	gen     uint64 // the next generation of those
}

// walkSize bounds the places that one call of Walk visits: without a receiver among them
// they take some 10 µs.
const walkSize = 1024

// Walk calls f with the handlers of the connections that follow a cursor, until f returns
// false, and for a bounded number of them. It returns where the next call continues, and
// whether anything may be left. A connection that is open from the first call of a walk to
// the last is visited once, one that opens or closes meanwhile at most once.
//
// Connections without a descriptor (TLS 1.2, wrapped ones, and all of the goroutine
// transport) follow in the order in which they were opened. A call of Walk looks at all of
// them to find the next ones, at about 15 ns each.
func (e *Engine) Walk(from Cursor, f func(Handler) bool) (next Cursor, more bool) {
	if from.streams {
		return e.streams.walk(from, f)
	}
	pages := e.table.pages.Load()
	if pages == nil {
		return Cursor{streams: true}, true
	}
	end := min(int(from.fd)+walkSize, len(*pages)*pageSize)
	for fd := int(from.fd); fd < end; fd++ {
		p := (*pages)[fd/pageSize]
		if p == nil {
			fd |= pageSize - 1
			continue
		}
		if c := p[fd%pageSize].Load(); c != nil && !c.has(flagListener) && !f(c.handler) {
			return Cursor{fd: int32(fd + 1)}, true
		}
	}
	if end == len(*pages)*pageSize {
		return Cursor{streams: true}, true
	}
	return Cursor{fd: int32(end)}, true
}

// streamWalk is how many connections one call of streams.walk visits.
const streamWalk = 64

func (s *streams) walk(from Cursor, f func(Handler) bool) (next Cursor, more bool) {
	var room [streamWalk]*Conn
	first := s.following(room[:0], from.gen)
	for _, c := range first {
		from.gen = uint64(c.gen) + 1
		if !f(c.handler) {
			return from, true
		}
	}
	return from, len(first) == streamWalk
}

// following appends the connections with the lowest generations from gen on, in order, as
// many as fit.
func (s *streams) following(into []*Conn, gen uint64) []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.set {
		if uint64(c.gen) < gen {
			continue
		}
		if len(into) < cap(into) {
			into = append(into, c)
		} else if c.gen >= into[len(into)-1].gen {
			continue
		}
		i := len(into) - 1
		for ; i > 0 && into[i-1].gen > c.gen; i-- {
			into[i] = into[i-1]
		}
		into[i] = c
	}
	return into
}
