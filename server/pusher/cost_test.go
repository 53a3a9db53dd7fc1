package pusher

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"fanfare/server"
)

// heap is the memory that is in use.
func heap() int64 {
	var m runtime.MemStats
	for range 2 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// An idle Pusher session with one channel takes at most 200 bytes more than a session of /ws with
// one topic, both of which have sent something.
func TestIdleSession(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const sessions = 400
	_, srv := start(t, []App{testApp()})
	cost := func(open func(i int)) int64 {
		for i := range 50 { // what is shared by all
			open(-1 - i)
		}
		before := heap()
		for i := range sessions {
			open(i)
		}
		return (heap() - before) / sessions
	}
	plain := cost(func(i int) {
		c := connect(t, srv, fmt.Sprintf("/ws?user=u%d&topic=news", i))
		c.say("x")
		ws.WriteFrame(c.nc, ws.MaskFrame(ws.NewPingFrame(nil)))
		io.ReadFull(c.read, make([]byte, 2)) // the pong
	})
	ours := cost(func(int) {
		c := dial(t, srv)
		c.subscribe("news")
		c.want(succeeded + "news {}")
	})
	t.Logf("%d bytes, and %d with /ws, of which each has the client's", ours, plain)
	if ours-plain > 200 {
		t.Errorf("a session takes %d bytes, which is %d more than one of /ws", ours, ours-plain)
	}
}

// An event is encoded once, and costs nothing for each of its receivers.
func TestPublishAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const receivers, events = 200, 100
	v, srv := start(t, []App{testApp()})
	var clients []*client
	for range receivers {
		c := dial(t, srv)
		c.subscribe("news")
		c.want(succeeded + "news {}")
		clients = append(clients, c)
	}
	e := event{name: "x", channel: "news", data: []byte(`"` + string(bytes.Repeat([]byte("x"), 100)) + `"`)}
	size := len(ws.MustCompileFrame(ws.NewTextFrame(e.encode())))
	var buf []byte
	buf = slices.Grow(buf, events*size)[:events*size]
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range events {
		if _, err := v.appByID("app1").trigger(t.Context(), e, ""); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	for _, c := range clients {
		if _, err := io.ReadFull(c.read, buf); err != nil {
			t.Fatal(err)
		}
	}
	if n := after.Mallocs - before.Mallocs; n > events*30 {
		t.Errorf("%d allocations for %d events to %d receivers", n, events, receivers)
	}
}

// BenchmarkPublish compares the delivery to sessions of /ws and of /app, interleaved:
//
//	go test -run '^$' -bench Publish -count 5 ./server/pusher
func BenchmarkPublish(b *testing.B) {
	const receivers = 1000
	_, srv := start(b, []App{testApp()})
	app := testApp()
	drain := func(c *client) {
		c.nc.SetDeadline(time.Time{})
		go io.Copy(io.Discard, c.nc)
	}
	for i := range receivers {
		drain(connect(b, srv, fmt.Sprintf("/ws?user=u%d&topic=plain", i)))
		c := dial(b, srv)
		c.subscribe("news")
		c.next()
		drain(c)
	}
	payload := event{name: "x", channel: "news", data: []byte(`"` + string(bytes.Repeat([]byte("x"), 100)) + `"`)}.encode()
	for _, test := range []struct{ name, topic string }{{"plain", "plain"}, {"pusher", app.Topic("news")}} {
		b.Run(test.name, func(b *testing.B) {
			for range b.N {
				if d, err := srv.Publish(b.Context(), test.topic, server.NewMessage(server.Text, payload)); err != nil || d.Receivers != receivers {
					b.Fatal(d, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/receivers, "ns/delivery")
		})
	}
}
