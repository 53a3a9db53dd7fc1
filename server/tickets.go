package server

import (
	"net/http"
	"strings"
	"sync"

	"fanfare/server/internal/field"
)

// Tickets issues resume tickets, see package ticket. Methods are called in read turns, and
// must not block.
type Tickets interface {
	// Issue returns a ticket for an identity that was proved at an endpoint with this path;
	// empty: it gets none.
	Issue(path string, id *Identity) string
	// Restore returns the identity that a ticket was issued for; false: it is not valid, or
	// not any more.
	Restore(path, ticket string) (id Identity, ok bool)
}

// Where a client presents its ticket: as "Authorization: Ticket TICKET", which proxies do not
// log and redirects do not carry to other hosts, or, since browsers let pages set no header, as
// ?ticket=TICKET.
const (
	ticketScheme = "Ticket"
	ticketParam  = "ticket"
)

var errTwoTickets = Reject(http.StatusBadRequest, "the request has one ticket in the Authorization field and another in the query parameter ticket: send one of them")

// restore returns the identity that the request's ticket was issued for. A client may ask for
// topics that this identity may subscribe to. ok false: the Identifier decides, as without a
// ticket. The error is for a request that is wrong with or without.
func (ep *endpoint) restore(r *Request) (id Identity, ok bool, err error) {
	if ep.Tickets == nil {
		return id, false, nil
	}
	ticket := r.Query(ticketParam)
	scheme, header, _ := strings.Cut(r.Header("Authorization"), " ")
	switch header = strings.TrimSpace(header); {
	case !strings.EqualFold(scheme, ticketScheme):
	case header != "" && ticket != "" && header != ticket:
		return id, false, errTwoTickets
	case header != "":
		ticket = header
	}
	if ticket == "" {
		return id, false, nil
	}
	if id, ok = ep.callRestore(ticket); !ok {
		return Identity{}, false, nil
	}
	if asked := r.QueryAll("topic"); len(asked) > 0 {
		for _, topic := range asked {
			if !Covers(id.MaySubscribe, topic) {
				return Identity{}, false, nil
			}
		}
		id.Topics = asked
	}
	return id, true, nil
}

// callRestore calls Tickets.Restore. After a panic the Identifier decides.
func (ep *endpoint) callRestore(ticket string) (id Identity, ok bool) {
	defer func() {
		if v := recover(); v != nil {
			ep.srv.panicked("Tickets.Restore", v, "endpoint", ep.Path)
			id, ok = Identity{}, false
		}
	}()
	return ep.Tickets.Restore(ep.Path, ticket)
}

// issueTicket returns a ticket for an identity that the endpoint has accepted; empty: none.
func (ep *endpoint) issueTicket(id *Identity) (ticket string) {
	if ep.Tickets == nil || id.User == "" {
		return ""
	}
	defer func() {
		if v := recover(); v != nil {
			ep.srv.panicked("Tickets.Issue", v, "endpoint", ep.Path)
			ticket = ""
		}
	}()
	own := *id // escapes, and without Tickets nothing does
	return ep.Tickets.Issue(ep.Path, &own)
}

// pendingTickets are tickets of sessions that were not sent hello yet, so that Session needs
// no field.
type pendingTickets struct {
	mu sync.Mutex
	of map[*Session]string // guarded by mu
}

// prepareTicket makes the ticket for hello, where the identity is at hand.
func (s *Session) prepareTicket(id *Identity) {
	ep := s.endpoint()
	if ep.Tickets == nil || s.dialect() != V1() {
		return
	}
	ticket := ep.issueTicket(id)
	if ticket == "" {
		return
	}
	p := &s.srv().tickets
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of == nil {
		p.of = make(map[*Session]string)
	}
	p.of[s] = ticket
}

// takeTicket returns the ticket for hello, once; empty: none.
func (s *Session) takeTicket() (ticket string) {
	if s.endpoint().Tickets == nil {
		return ""
	}
	p := &s.srv().tickets
	p.mu.Lock()
	defer p.mu.Unlock()
	ticket = p.of[s]
	delete(p.of, s)
	return ticket
}

// useTicket notes that the query parameter has an effect, for a request whose ticket is not
// valid.
func (ep *endpoint) useTicket(r *Request) {
	if ep.Tickets != nil {
		r.ask(ticketParam, false)
	}
}

// checkTickets returns an error if tickets mean nothing at the endpoint.
func (ep *Endpoint) checkTickets() error {
	switch {
	case ep.Tickets == nil:
		return nil
	case ep.Identifier == nil || ep.Insecure:
		return field.Errorf("Tickets", "needs an Identifier that proves who a client is")
	case strings.HasSuffix(ep.Path, "/*"):
		return field.Errorf("Tickets", "needs a path without *: a ticket is for one path")
	}
	return nil
}
