package api

import (
	"encoding/json"
	"io"
	"maps"
	"net"
	"runtime"
	"testing"

	"fanfare/netpoll"
	"fanfare/server"
)

func TestAPIStats(t *testing.T) {
	for _, kind := range []netpoll.Transport{netpoll.Epoll, netpoll.Easygo, netpoll.Goroutine} {
		t.Run(kind.String(), func(t *testing.T) {
			s := newAPIServer(t, server.Config{Transport: kind}, Config{Version: "v1"}, nil)
			alice := s.connect("/ws?user=alice&topic=a&topic=b")
			s.connect("/ws?user=alice&topic=b")
			bob := s.connect("/ws?user=bob")
			s.call("POST", "/v1/users/alice/push", "x")
			s.call("POST", "/v1/topics/b/push", "x")
			s.call("POST", "/v1/broadcast", "x")
			for range 3 {
				alice.expect(server.Text, "x")
			}
			bob.expect(server.Text, "x")
			s.call("DELETE", "/v1/users/bob?code=4000", "")
			bob.expectClose(4000, "")
			bob.Close()
			rejected, err := net.Dial("tcp", s.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer rejected.Close()
			io.WriteString(rejected, "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
			if got := readAnswer(t, rejected); got.status != 400 {
				t.Errorf("got %v", got)
			}
			rejected.Close()
			for s.Stats().Connections > 2 {
				runtime.Gosched()
			}
			var f figures
			got := s.call("GET", "/v1/stats", "")
			if err := json.Unmarshal([]byte(got.body), &f); err != nil {
				t.Fatalf("%v: %v", got, err)
			}
			if f.Sessions != 2 || f.Users != 1 || f.Topics != 2 || f.Connections != 2 || f.Handshakes != 3 || f.Opened != 4 || f.Closed != 2 {
				t.Errorf("got %+v", f)
			}
			if f.Transport != kind.String() || f.Status != "serving" || f.Version != "v1" || f.UptimeSeconds <= 0 {
				t.Errorf("got %+v", f)
			}
			if f.Goroutines <= 0 || f.HeapAllocBytes == 0 || f.HeapInuseBytes < f.HeapAllocBytes || (f.RSSBytes == 0) == (runtime.GOOS == "linux") {
				t.Errorf("got %+v", f)
			}
			if want := map[string]int64{"user": 2, "topic": 2, "broadcast": 3, "durable": 0}; !maps.Equal(f.Delivered, want) {
				t.Errorf("delivered %v", f.Delivered)
			}
			for name, counts := range map[string]map[string]int64{"4000": f.Closes, "400": f.Rejected} {
				for key, n := range counts {
					if want := map[bool]int64{true: 1}[key == name]; n != want {
						t.Errorf("%s: %d are counted, want %d", key, n, want)
					}
				}
			}
			if f.Delivery["user"].Count != 1 || f.Delivery["topic"].Count != 1 || f.Delivery["broadcast"].Count != 1 || f.Delivery["broadcast"].Seconds <= 0 {
				t.Errorf("delivery %+v", f.Delivery)
			}
			if f.ReceivedBytes < 4*100 || f.SentBytes < 4*100 || f.QueuedBytes != 0 {
				t.Errorf("%d bytes received and %d sent in four handshakes, %d queued", f.ReceivedBytes, f.SentBytes, f.QueuedBytes)
			}
		})
	}
}
