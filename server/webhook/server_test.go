package webhook

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sort"
	"sync"
	"testing"
	"time"

	"fanfare/server"
)

// startServerWith starts a server that reports to s.
func startServerWith(t testing.TB, o server.Observer) *server.Server {
	t.Helper()
	srv, err := server.New(server.Config{Listen: "127.0.0.1:0", Observer: o, Logger: quiet, HandshakesPerIP: 1 << 20, HandshakeRate: 1 << 20})
	if err == nil {
		err = srv.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		srv.Shutdown(ctx)
	})
	return srv
}

// dial opens a session.
func dial(t testing.TB, srv *server.Server, path string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", srv.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp, err)
	}
	return c
}

// TestHangingWebhookCostsNoPush: with a webhook that hangs, and a queue that is full, a push
// allocates what it does without webhooks, and reaches as many sessions.
func TestHangingWebhookCostsNoPush(t *testing.T) {
	hangs := &receiver{answer: func(int, *http.Request) *http.Response { return nil }}
	s := start(t, hangs, Config{MaxBytes: 1 << 20})
	cost := func(o server.Observer) (allocs float64, st *server.Stats) {
		srv := startServerWith(t, o)
		c := dial(t, srv, "/ws?user=alice")
		go func() { // reads what is pushed
			for buf := make([]byte, 64<<10); ; {
				if _, err := c.Read(buf); err != nil {
					return
				}
			}
		}()
		until(t, "session", func() bool { return srv.Count() == 1 })
		m := server.NewMessage(server.Text, []byte("hello"))
		allocs = testing.AllocsPerRun(1000, func() {
			if d, err := srv.Push(context.Background(), "alice", m); d.Receivers != 1 || err != nil {
				t.Error(d, err)
			}
		})
		return allocs, srv.Stats()
	}
	without, before := cost(nil)
	for i := 0; metricsOf(s)["dropped_total queue_full"] == 0; i++ {
		s.Observe(server.Event{Kind: server.TopicOccupied, Time: time.Now(), Topic: fmt.Sprintf("%0200d", i)})
	}
	with, after := cost(s)
	if raceEnabled {
		with, without = 0, 0
	}
	if with > without+0.1 { // other goroutines allocate now and then
		t.Errorf("%v allocations for a push, %v without a webhook", with, without)
	}
	if after.Delivered["user"] != before.Delivered["user"] || after.Sessions != before.Sessions || after.Panics != 0 {
		t.Errorf("%+v\nwithout a webhook\n%+v", after, before)
	}
	stop(s)
}

// TestServerReports: what a webhook receives of a session, from the handshake to the answer.
func TestServerReports(t *testing.T) {
	r := new(receiver)
	s := start(t, r, Config{OfflineGrace: 10 * time.Millisecond})
	srv := startServerWith(t, s)
	dial(t, srv, "/ws?user=alice&topic=news").Close()
	want := []string{"session.closed alice", "session.opened alice", "topic.occupied news", "topic.vacated news", "user.offline alice", "user.online alice"}
	until(t, "events", func() bool { return len(r.events(0)) == len(want) })
	got := r.events(0)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	for _, req := range r.all() {
		for _, e := range req.Data.Events {
			switch e["type"] {
			case "session.opened":
				if e["session"] == "" || e["endpoint"] != "/ws" || fmt.Sprint(e["topics"]) != "[news]" || e["node"] != "n1" || e["remote_addr"] == nil {
					t.Errorf("%v", e)
				}
			case "session.closed":
				if e["code"] != 1006.0 || e["reason"] != "" || e["duration"] == nil || e["opened"] == nil {
					t.Errorf("%v", e)
				}
			}
		}
	}
}

// BenchmarkLatency measures the time from an event to the request that has it, with a webhook
// on this machine that answers at once. It reports the median and p99 in milliseconds.
func BenchmarkLatency(b *testing.B) {
	for _, name := range []string{"memory", "JetStream"} {
		b.Run(name, func(b *testing.B) {
			var mu sync.Mutex
			var took []time.Duration
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			r := new(receiver)
			web := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
				r.note(req)
				now := time.Now()
				all := r.all()
				mu.Lock()
				defer mu.Unlock()
				for _, e := range all[len(all)-1].Data.Events {
					at, _ := time.Parse(time.RFC3339Nano, e["time"].(string))
					took = append(took, now.Sub(at))
				}
			})}
			go web.Serve(ln)
			defer web.Close()
			cfg := Config{Hooks: []Hook{{URL: "http://" + ln.Addr().String() + "/"}}}
			if name == "JetStream" {
				cfg.Dir = b.TempDir()
			}
			s := start(b, nil, cfg)
			for b.Loop() {
				s.Observe(opened("alice"))
				time.Sleep(5 * time.Millisecond) // 200 events a second
			}
			until(b, "delivery", func() bool { mu.Lock(); defer mu.Unlock(); return len(took) == b.N })
			stop(s)
			sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-p50")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "ms-p99")
		})
	}
}
