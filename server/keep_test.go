package server

import (
	"sync/atomic"
	"syscall"
	"testing"

	"fanfare/netpoll"
)

// early is a dialect that changes what is described of a session before that is open.
type early struct {
	upper
	begin func(s *Session)
}

func (*early) Protocol() string               { return "early" }
func (e *early) Begin(s *Session, _ Position) { e.begin(s) }

// keeping starts a server with a keeper.
func keeping(t *testing.T, cfg Config) (*Server, *Keeping) {
	t.Helper()
	linuxOnly(t)
	cfg.Listen = "127.0.0.1:0"
	srv, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	k := srv.Keep(MarksIn(make([]byte, 1<<16*netpoll.MarkSize)))
	serve(t, srv)
	return srv, k
}

// TestKeepDescribesOpeningSessions: a session that was looked at before it was open is described
// when it is.
func TestKeepDescribesOpeningSessions(t *testing.T) {
	var shared atomic.Pointer[Keeping]
	ep := PushEndpoint("/ws")
	ep.Dialects = append(ep.Dialects, &early{begin: func(s *Session) {
		s.SetData(nil)
		if all, _ := shared.Load().Take(10); len(all) != 0 {
			t.Errorf("%d sessions are described before they are open", len(all))
		}
	}})
	srv, k := keeping(t, Config{Endpoints: []Endpoint{ep}})
	shared.Store(k)
	dial(t, srv, "/ws?user=a", "Sec-WebSocket-Protocol: early")
	await(t, "a description", func() bool {
		all, _ := k.Take(10)
		for i := range all {
			syscall.Close(all[i].File)
		}
		return len(all) == 1
	})
}

// TestKeepingEnds: a server whose keeper has ended gathers nothing for it.
func TestKeepingEnds(t *testing.T) {
	srv, k := keeping(t, Config{Endpoints: bothEndpoints()})
	dial(t, srv, "/ws?user=a").Close()
	await(t, "an end", func() bool { return srv.Count() == 0 })
	k.End()
	for range 3 {
		dial(t, srv, "/ws?user=a").Close()
	}
	await(t, "all ends", func() bool { return srv.connections.Load() == 0 })
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.listed) != 0 || len(k.ended) != 0 {
		t.Errorf("%d sessions are listed, and %d that have ended", len(k.listed), len(k.ended))
	}
}
