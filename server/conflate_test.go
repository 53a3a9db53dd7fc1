package server

import (
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"strings"
	"testing"

	"fanfare/netpoll"
)

// conflated returns a message that is named by what precedes "=".
func conflated(t testing.TB, text string) *Message {
	t.Helper()
	name, _, _ := strings.Cut(text, "=")
	m, err := NewMessageWith(Text, []byte(text), MessageOptions{Conflate: name})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// fillQueue publishes to a client that does not read until its queue is full.
func fillQueue(t testing.TB, srv *Server, topic string) {
	t.Helper()
	filler := make([]byte, 8<<10)
	rand.Read(filler) // deflate does not make it smaller
	for m := NewMessage(Binary, filler); srv.engine.Stats().Dropped < 20; {
		if d, err := srv.Publish(t.Context(), topic, m); err != nil || d.Receivers != 1 {
			t.Fatalf("%+v, %v", d, err)
		}
	}
}

// A slow client gets the newest message of each name, in the order of the first of each,
// whatever its connection and whatever way the messages came.
func TestConflate(t *testing.T) {
	for name, open := range map[string]func(t *testing.T, transport netpoll.Transport) (*Server, *client){
		"plain": func(t *testing.T, transport netpoll.Transport) (*Server, *client) {
			srv := start(t, Config{Transport: transport})
			return srv, dial(t, srv, "/ws?user=u&topic=t")
		},
		"deflate": func(t *testing.T, transport netpoll.Transport) (*Server, *client) {
			srv := start(t, Config{Transport: transport, Endpoints: []Endpoint{compressing(PushEndpoint("/ws"))}})
			return srv, dial(t, srv, "/ws?user=u&topic=t", "Sec-WebSocket-Extensions: permessage-deflate")
		},
		"TLS 1.3": func(t *testing.T, transport netpoll.Transport) (*Server, *client) {
			srv := start(t, Config{Transport: transport, TLS: NewTLS(serverTLS(t))})
			return srv, dialTLS(t, srv, clientTLS(tls.VersionTLS13), "/ws?user=u&topic=t")
		},
	} {
		t.Run(name, func(t *testing.T) {
			overTransports(t, func(t *testing.T, transport netpoll.Transport) {
				srv, c := open(t, transport)
				fillQueue(t, srv, "t")
				s, to := only(t, srv, "u"), Audience{Everyone: true, ExcludeUsers: []string{"other"}}
				ways := []func(m *Message) (Delivery, error){
					func(m *Message) (Delivery, error) { return srv.Push(t.Context(), "u", m) },
					func(m *Message) (Delivery, error) { return srv.Publish(t.Context(), "t", m) },
					func(m *Message) (Delivery, error) { return srv.Broadcast(t.Context(), m) },
					func(m *Message) (Delivery, error) { return srv.PushMany(t.Context(), []string{"u"}, []string{"t"}, m) },
					func(m *Message) (Delivery, error) { return srv.Deliver(t.Context(), to, m) },
					func(m *Message) (Delivery, error) { return Delivery{Receivers: 1}, s.SendMessage(m) },
				}
				const rounds = 60
				for i := range rounds {
					for _, name := range []string{"a", "b", "c"} {
						if d, err := ways[i%len(ways)](conflated(t, fmt.Sprintf("%s=%d", name, i))); err != nil || d.Receivers != 1 {
							t.Fatalf("round %d: %+v, %v", i, d, err)
						}
					}
				}
				replaced := int(srv.Stats().Conflated)
				publish(srv, "t", Text, []byte("end"))
				var got []string
				last := make(map[string]string)
				for {
					b, _ := c.inflated()
					if len(b) == 8<<10 {
						continue
					}
					if string(b) == "end" {
						break
					}
					got = append(got, string(b))
					last[string(b[:1])] = string(b)
				}
				if replaced+len(got) != 3*rounds || last["a"] != "a=59" || last["b"] != "b=59" || last["c"] != "c=59" {
					t.Errorf("%d replaced, got %q", replaced, got)
				}
				// A goroutine may still be writing what the kernel has room for.
				if stuck := transport != netpoll.Goroutine; stuck && strings.Join(got, " ") != "a=59 b=59 c=59" {
					t.Errorf("got %q, want the newest message of each, in the order of the first of each", got)
				}
			})
		})
	}
}

// Messages with options cross a cluster, and reach a client that reads like others.
func TestConflateInCluster(t *testing.T) {
	cluster := newFakeClusters(2)
	a, b := start(t, Config{Cluster: cluster[0]}), start(t, Config{Cluster: cluster[1]})
	here, there := dial(t, a, "/ws?user=u&topic=t"), dial(t, b, "/ws?user=u&topic=t&topic=b")
	m := conflated(t, "name=1")
	for name, send := range map[string]func() (Delivery, error){
		"Push":      func() (Delivery, error) { return a.Push(t.Context(), "u", m) },
		"Publish":   func() (Delivery, error) { return a.Publish(t.Context(), "t", m) },
		"Broadcast": func() (Delivery, error) { return a.Broadcast(t.Context(), m) },
		"PushMany":  func() (Delivery, error) { return a.PushMany(t.Context(), []string{"u"}, nil, m) },
	} {
		if d, err := send(); err != nil || d.Receivers != 2 || !d.Complete() {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
		here.want(Text, "name=1")
		there.want(Text, "name=1")
	}
	if d, err := a.PublishExcept(t.Context(), "t", m, only(t, b, "u")); err != nil || d.Receivers != 1 {
		t.Errorf("PublishExcept: %+v, %v", d, err)
	}
	here.want(Text, "name=1")
	for _, c := range cluster[0].asked {
		if c.Verb != VerbDeliver || c.Conflate != "name" {
			t.Errorf("command %+v", c)
		}
	}
	fillQueue(t, b, "b")
	for i := range 10 {
		a.Push(t.Context(), "u", conflated(t, fmt.Sprintf("name=%d", i)))
	}
	if n := b.Stats().Conflated; n != 9 {
		t.Errorf("%d messages replaced on the other node, want 9", n)
	}
}

func TestMessageOptions(t *testing.T) {
	for _, name := range []string{strings.Repeat("x", MaxConflate+1), "\xff"} {
		if _, err := NewMessageWith(Text, nil, MessageOptions{Conflate: name}); err == nil || !strings.HasPrefix(err.Error(), "server: MessageOptions.Conflate: name ") {
			t.Errorf("%.10q: %v", name, err)
		}
	}
	if m, err := NewMessageWith(Text, []byte("x"), MessageOptions{}); err != nil || m.options != nil {
		t.Errorf("%+v, %v", m, err)
	}
}
