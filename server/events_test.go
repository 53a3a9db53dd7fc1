package server

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"
)

// observerLog is an Observer that notes events.
type observerLog struct {
	mu     sync.Mutex
	events []Event
	except map[EventKind]bool
	panics bool
}

func (o *observerLog) Wants(k EventKind) bool { return !o.except[k] }

func (o *observerLog) Observe(e Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events = append(o.events, e)
	if o.panics {
		panic("observer")
	}
}

// lines are the events, each "kind subject", of some kinds; all if there are none.
func (o *observerLog) lines(kinds ...EventKind) (all []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.events {
		if len(kinds) == 0 || slices.Contains(kinds, e.Kind) {
			all = append(all, e.Kind.String()+" "+e.User+e.Topic)
		}
	}
	return all
}

func (o *observerLog) count(k EventKind) int { return len(o.lines(k)) }

// last returns the last event of a kind.
func (o *observerLog) last(k EventKind) (e Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, found := range o.events {
		if found.Kind == k {
			e = found
		}
	}
	return e
}

// The events of sessions, of their user and of their topics, in order and with their fields.
func TestEvents(t *testing.T) {
	o := new(observerLog)
	push := PushEndpoint("/ws")
	push.ReportMessages = true
	srv := start(t, Config{Observer: o, Endpoints: []Endpoint{push}})
	a := dial(t, srv, "/ws?user=alice&topic=t2&topic=t1")
	await(t, "opened", func() bool { return o.count(SessionOpened) == 1 })
	b := dial(t, srv, "/ws?user=alice&topic=t2")
	a.send(Text, "hello")
	await(t, "message", func() bool { return o.count(MessageReceived) == 1 })
	a.say(string(masked(ws.OpClose, true, append([]byte{0x0f, 0xa1}, "done"...)))) // 4001
	await(t, "closed", func() bool { return o.count(SessionClosed) == 1 })
	await(t, "vacated", func() bool { return o.count(TopicVacated) == 1 })
	b.Close()
	await(t, "offline", func() bool { return o.count(TopicVacated) == 2 })
	want := []string{
		"user.online alice", "topic.occupied t2", "topic.occupied t1", "session.opened alice", // a
		"session.opened alice", "message.received alice",
		"session.closed alice", "topic.vacated t1", // a
		"session.closed alice", "user.offline alice", "topic.vacated t2", // b
	}
	if got := o.lines(); !slices.Equal(got, want) {
		t.Errorf("\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	o.mu.Lock()
	first, closed := o.events[3], o.events[6]
	o.mu.Unlock()
	if first.Session == "" || first.Endpoint != "/ws" || first.RemoteAddr == "" || !slices.Equal(first.Topics, []string{"t1", "t2"}) || first.Time.IsZero() {
		t.Errorf("%+v", first)
	}
	if closed.Session != first.Session || closed.Code != 4001 || closed.Reason != "done" || !slices.Equal(closed.Topics, []string{"t1", "t2"}) || closed.Opened.IsZero() {
		t.Errorf("%+v", closed)
	}
	if m := o.last(MessageReceived); m.Op != Text || string(m.Payload) != "hello" || m.Session != first.Session {
		t.Errorf("%+v", m)
	}
	if left := len(srv.events.occupied); left != 0 {
		t.Errorf("%d topics are kept", left)
	}
}

// Messages are reported for endpoints that say so, and kinds that are not wanted never.
func TestEventsNotWanted(t *testing.T) {
	o := &observerLog{except: map[EventKind]bool{UserOnline: true, SessionOpened: true, TopicOccupied: true}}
	srv := start(t, Config{Observer: o})
	c := dial(t, srv, "/ws?user=alice&topic=t")
	c.send(Text, "x")
	c.Close()
	await(t, "vacated", func() bool { return o.count(TopicVacated) == 1 })
	if got := o.lines(); !slices.Equal(got, []string{"session.closed alice", "user.offline alice", "topic.vacated t"}) {
		t.Errorf("%v", got)
	}
}

// A session that takes the place of the user's only one does not make the user offline.
func TestEventsOfReplacedSession(t *testing.T) {
	o := new(observerLog)
	srv := start(t, Config{Observer: o, SessionsPerUser: 1, SessionsFull: SessionsCloseOldest, CloseTimeout: tick})
	dial(t, srv, "/ws?user=alice&topic=t")
	dial(t, srv, "/ws?user=alice")
	await(t, "closed", func() bool {
		return o.count(SessionClosed) == 1 && o.count(SessionOpened) == 2 && o.count(TopicVacated) == 1
	})
	if got := o.lines(UserOnline, UserOffline); !slices.Equal(got, []string{"user.online alice"}) {
		t.Errorf("%v", got)
	}
	if e := o.last(SessionClosed); e.Code != StatusPolicyViolation || !strings.Contains(e.Reason, "replaced") {
		t.Errorf("%+v", e)
	}
}

// A client that does not read is reported once, and its session closed.
func TestEventsOfSlowConsumer(t *testing.T) {
	o := new(observerLog)
	srv := start(t, Config{Observer: o, QueueBytes: 1 << 10, CloseTimeout: tick})
	dial(t, srv, "/ws?user=alice")
	m := NewMessage(Text, bytes.Repeat([]byte("x"), 512<<10))
	await(t, "slow", func() bool {
		srv.Push(t.Context(), "alice", m)
		return o.count(SessionClosed) == 1
	})
	if e := o.last(SessionSlow); o.count(SessionSlow) != 1 || e.User != "alice" || e.Queued == 0 || o.last(SessionClosed).Code != StatusTryAgainLater {
		t.Errorf("%+v, %v", e, o.lines())
	}
}

// A panic of an Observer is counted, and costs nothing else.
func TestPanicInObserver(t *testing.T) {
	log := new(logBuffer)
	srv := start(t, Config{Observer: &observerLog{panics: true}, Logger: log.logger()})
	c := dial(t, srv, "/ws?user=alice&topic=t")
	await(t, "panics", func() bool { return srv.Stats().Panics == 3 })
	if n := push(srv, "alice", Text, []byte("x")); n != 1 {
		t.Errorf("%d receivers", n)
	}
	c.want(Text, "x")
}

// Users who come and go at once: their events alternate, and agree with the sessions at the end.
func TestEventsOfRacingSessions(t *testing.T) {
	o := &observerLog{except: map[EventKind]bool{SessionOpened: true, SessionClosed: true}}
	srv := start(t, Config{Observer: o, HandshakesPerIP: 1 << 20, HandshakeRate: 1 << 20})
	const users, rounds = 3, 40
	var all sync.WaitGroup
	for i := range 2 * users {
		all.Go(func() {
			for range rounds {
				c := dial(t, srv, fmt.Sprintf("/ws?user=u%d&topic=t%[1]d", i%users))
				c.Close()
			}
		})
	}
	all.Wait()
	await(t, "end", func() bool { return srv.Count() == 0 && srv.users.Users() == 0 && srv.users.Topics() == 0 })
	for i := range users {
		for name, kinds := range map[string][]EventKind{fmt.Sprint("u", i): {UserOnline, UserOffline}, fmt.Sprint("t", i): {TopicOccupied, TopicVacated}} {
			var mine []string
			await(t, "last event of "+name, func() bool {
				mine = slices.DeleteFunc(o.lines(kinds...), func(l string) bool { return !strings.HasSuffix(l, " "+name) })
				return len(mine) > 0 && len(mine)%2 == 0
			})
			for j, line := range mine {
				if !strings.HasPrefix(line, kinds[j%2].String()) {
					t.Fatalf("event %d of %s is %s", j, name, line)
				}
			}
		}
	}
}
