package server

import (
	"context"
	"net/http"
	"testing"

	"fanfare/netpoll"
)

// A panic in the Identifier of a Mount costs its handshake.
func TestPanicInMountIdentifier(t *testing.T) {
	for _, h := range hosts {
		t.Run(h.name, func(t *testing.T) {
			log := new(logBuffer)
			srv, m := bare(t, Config{Logger: log.logger()}, Endpoint{Identifier: func(_ context.Context, r *Request) (Identity, error) {
				if r.Query("user") == "bad" {
					panic("in Identifier")
				}
				return Identity{User: r.Query("user")}, nil
			}})
			dial := in(t, h, m)
			if resp, _ := dial().ask(knock("/?user=bad")); resp.StatusCode != http.StatusInternalServerError {
				t.Errorf("status %d", resp.StatusCode)
			}
			wantPanics(t, srv, log, "Identifier", 1)
			dial().enter(knock("/?user=good"))
		})
	}
}

// panickyError panics when errors.Is looks at it.
type panickyError struct{}

func (panickyError) Error() string { return "panicky" }
func (panickyError) Is(error) bool { panic("in Is") }

// A panic on the goroutine of an Identifier, after that has returned, costs the handshake,
// or the session if it is open.
func TestPanicAfterIdentifier(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		var srv *Server
		log := new(logBuffer)
		ep, calls := blocking(Hooks{OnOpen: func(s *Session) {
			if s.User() != "ends" {
				return
			}
			p := s.identification()
			cancel := p.cancel
			p.cancel = func() { p.cancel = cancel; panic("in end") }
		}})
		srv = start(t, Config{Transport: transport, Logger: log.logger(), Identifiers: 1, Endpoints: []Endpoint{ep}})
		begin := func(user string, err error) *client {
			c := connect(t, srv)
			c.say(handshakeFor("/slow?user=" + user))
			receive(t, "Identifier", calls).answer <- err
			return c
		}
		if resp := begin("rejected", panickyError{}).answer(); resp.StatusCode != http.StatusInternalServerError {
			t.Errorf("status %d", resp.StatusCode)
		}
		wantPanics(t, srv, log, "identification", 1)
		c := begin("ends", nil)
		if resp := c.answer(); resp.StatusCode != http.StatusSwitchingProtocols {
			t.Errorf("status %d", resp.StatusCode)
		}
		c.wantClose(StatusInternalError)
		wantPanics(t, srv, log, "identification", 2)
		if resp := begin("other", nil).answer(); resp.StatusCode != http.StatusSwitchingProtocols {
			t.Errorf("status %d", resp.StatusCode)
		}
		await(t, "nothing is held", func() bool { return srv.memory.Held() == 0 && beingIdentified(srv) == 0 })
	})
}
