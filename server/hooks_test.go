package server

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gobwas/ws"

	"fanfare/frame"
	"fanfare/netpoll"
)

// hookLog notes the calls of one endpoint's hooks, and finds those that overlap.
type hookLog struct {
	mu     sync.Mutex
	lines  map[uint64][]string
	within map[uint64]bool
	faults []string
	closed atomic.Int32
}

func (d *hookLog) enter(s *Session, what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lines == nil {
		d.lines, d.within = make(map[uint64][]string), make(map[uint64]bool)
	}
	if d.within[s.ID()] {
		d.faults = append(d.faults, what+" while another hook runs")
	}
	d.within[s.ID()] = true
	d.lines[s.ID()] = append(d.lines[s.ID()], what)
}

func (d *hookLog) leave(s *Session) {
	d.mu.Lock()
	d.within[s.ID()] = false
	d.mu.Unlock()
}

func (d *hookLog) hooks() Hooks {
	return Hooks{
		OnOpen: func(s *Session) { d.enter(s, "open"); d.leave(s) },
		OnMessage: func(s *Session, op Op, payload []byte) {
			d.enter(s, string(payload))
			s.Send(op, payload)
			d.leave(s)
		},
		OnClose: func(s *Session, why frame.CloseError) {
			d.enter(s, fmt.Sprintf("close %d", why.Code))
			d.leave(s)
			d.closed.Add(1)
		},
	}
}

// OnOpen is the first call for a session, OnClose the last, once, and none overlap.
func TestHooksInOrder(t *testing.T) {
	const sessions, messages = 50, 20
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		var d hookLog
		ep := PushEndpoint("/")
		ep.Hooks = d.hooks()
		srv := start(t, Config{Transport: transport, Endpoints: []Endpoint{ep}})
		each(sessions, func(i int) {
			c := dial(t, srv, fmt.Sprintf("/?user=u%d", i))
			for m := range messages {
				c.send(Text, fmt.Sprint(m))
			}
			for m := range messages {
				c.want(Text, fmt.Sprint(m))
			}
			switch i % 4 {
			case 0:
				c.send(ws.OpClose, closePayload(1000, ""))
				c.wantClose(1000)
			case 1:
				c.reset()
			case 2:
				c.Close()
			case 3:
				srv.disconnectHere(fmt.Sprintf("u%d", i), 4000, "")
				c.finish()
			}
		})
		await(t, "all close", func() bool { return d.closed.Load() == sessions })
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, fault := range d.faults {
			t.Error(fault)
		}
		var want strings.Builder
		want.WriteString("open ")
		for m := range messages {
			fmt.Fprint(&want, m, " ")
		}
		codes := map[string]int{}
		for _, lines := range d.lines {
			got := strings.Join(lines, " ")
			code, ok := strings.CutPrefix(got, want.String())
			if !ok {
				t.Errorf("calls: %s", got)
			}
			codes[code]++
		}
		if len(d.lines) != sessions || codes["close 1000"] != 13 || codes["close 4000"] != 12 || codes["close 1006"] != 25 {
			t.Errorf("%d sessions, %v", len(d.lines), codes)
		}
	})
}

// A panic ends its session with 1011, is logged once with its stack, and the
// server and the other sessions go on.
func TestHooksPanic(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		for _, where := range []string{"OnOpen", "OnMessage", "OnClose"} {
			t.Run(where, func(t *testing.T) {
				log := new(logBuffer)
				var closed atomic.Int32
				check := func(s *Session, hook string) {
					if s.User() == "panics" && hook == where {
						panic("in " + hook)
					}
				}
				ep := PushEndpoint("/")
				ep.Hooks = Hooks{
					OnOpen: func(s *Session) { check(s, "OnOpen") },
					OnMessage: func(s *Session, op Op, payload []byte) {
						check(s, "OnMessage")
						s.Send(op, payload)
					},
					OnClose: func(s *Session, why frame.CloseError) {
						closed.Add(1)
						check(s, "OnClose")
					},
				}
				srv := start(t, Config{Transport: transport, Endpoints: []Endpoint{ep}, Logger: log.logger()})
				other := dial(t, srv, "/?user=other")
				c := dial(t, srv, "/?user=panics")
				c.say(string(masked(Text, true, []byte("1"))) + string(masked(Text, true, []byte("2"))))
				switch where {
				case "OnClose":
					c.want(Text, "1")
					c.want(Text, "2")
					c.send(ws.OpClose, closePayload(1000, ""))
					c.wantClose(1000)
				default:
					c.wantClose(1011)
					c.send(ws.OpClose, closePayload(1011, ""))
				}
				c.wantEnd()
				await(t, "OnClose", func() bool { return closed.Load() == 1 })
				await(t, "one session is left", func() bool { return srv.connections.Load() == 1 })
				await(t, "the panic is counted", func() bool { return srv.stats.Panics.Load() == 1 })
				if lines, stacks := log.count("level=ERROR"), log.count("hooks_test.go"); lines != 1 || stacks == 0 {
					t.Errorf("%d lines are logged, stack: %t", lines, stacks > 0)
				}
				other.send(Text, "still there?")
				other.want(Text, "still there?")
			})
		}
	})
}

// Everything may be called from within a hook.
func TestHooksMayCall(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		done := make(chan string, 1)
		ep := PushEndpoint("/")
		ep.Hooks = Hooks{
			OnOpen: func(s *Session) {
				srv := s.srv()
				s.Subscribe("t")
				push(srv, s.User(), Text, []byte("push"))
				publish(srv, "t", Text, []byte("publish"))
				broadcast(srv, Text, []byte("broadcast"))
				s.SetData("data")
			},
			OnMessage: func(s *Session, op Op, payload []byte) {
				clear(payload) // it may be modified
				s.srv().disconnectHere(s.User(), 4000, "kick")
				if err := s.Send(Text, []byte("late")); err != ErrClosed {
					t.Errorf("Send after Kick: %v", err)
				}
			},
			OnClose: func(s *Session, why frame.CloseError) {
				if s.Send(Text, nil) != ErrClosed || s.Close(1000, "") || len(s.Topics()) != 0 || push(s.srv(), s.User(), Text, nil) != 0 {
					t.Error("the session is not over in OnClose")
				}
				done <- fmt.Sprint(s.User(), s.Data(), why.Code)
			},
		}
		srv := start(t, Config{Transport: transport, Endpoints: []Endpoint{ep}})
		c := dial(t, srv, "/?user=a")
		c.want(Text, "push")
		c.want(Text, "publish")
		c.want(Text, "broadcast")
		c.send(Text, "x")
		if code := c.finish(); code != 4000 {
			t.Errorf("closed with %d", code)
		}
		if got := receive(t, "OnClose", done); got != "adata4000" {
			t.Errorf("OnClose saw %s", got)
		}
	})
}

// A hook that blocks does not stop the others.
func TestHooksMayBlock(t *testing.T) {
	const blocked = 50
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		leave := make(chan struct{})
		entered := make(chan struct{}, blocked)
		ep := EchoEndpoint("/")
		ep.Hooks.OnMessage = func(s *Session, op Op, payload []byte) {
			if string(payload) == "block" {
				entered <- struct{}{}
				<-leave
			}
			s.Send(op, payload)
		}
		srv := start(t, Config{Transport: transport, Endpoints: []Endpoint{ep}})
		var clients []*client
		for range blocked {
			c := dial(t, srv, "/")
			c.send(Text, "block")
			clients = append(clients, c)
		}
		for range blocked {
			receive(t, "a blocked hook", entered)
		}
		c := dial(t, srv, "/")
		c.send(Text, "free")
		c.want(Text, "free")
		close(leave)
		for _, c := range clients {
			c.want(Text, "block")
		}
	})
}
