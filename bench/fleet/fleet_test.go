package fleet

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"fanfare/bench/load"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/gorilla/websocket"
)

// TestMain makes this program its own worker.
func TestMain(m *testing.M) {
	if os.Getenv("FLEET_TEST_WORKER") != "" {
		if err := Work(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Setenv("FLEET_TEST_WORKER", "1")
	os.Exit(m.Run())
}

// A hall is a server that echoes on /echo and keeps all other connections for pushes.
type hall struct {
	addr netip.AddrPort
	mu   sync.Mutex
	all  map[string]*websocket.Conn // by user
}

func newHall(t *testing.T) *hall {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &hall{addr: netip.MustParseAddrPort(l.Addr().String()), all: map[string]*websocket.Conn{}}
	var upgrader websocket.Upgrader
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		if r.URL.Path != "/echo" {
			h.mu.Lock()
			h.all[r.URL.Query().Get("user")] = c
			h.mu.Unlock()
		}
		for {
			kind, p, err := c.ReadMessage()
			if err != nil || c.WriteMessage(kind, p) != nil {
				return
			}
		}
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return h
}

// push sends a message to one user.
func (h *hall) push(t *testing.T, user uint32, m load.Message) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.all[load.UserName(user)]
	if c == nil {
		t.Fatalf("user %d is not here", user)
	}
	if err := c.WriteMessage(websocket.TextMessage, m.Append(nil, 64)); err != nil {
		t.Fatal(err)
	}
}

// three starts a fleet of three processes for ten connections.
func three(t *testing.T, h *hall) *Fleet {
	t.Helper()
	f, err := startWith(t.Context(), []string{os.Args[0]}, load.Config{Addr: h.addr}, 10, 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	if len(f.PIDs()) != 3 {
		t.Fatalf("%d processes", len(f.PIDs()))
	}
	return f
}

func dial(t *testing.T, f *Fleet, path string) {
	t.Helper()
	r, err := f.Dial(t.Context(), load.DialPlan{Window: 3, Path: path, Limit: 10 * time.Second}, os.Getpid())
	if err != nil || r.Messages != 10 || r.Latency.TotalCount() != 10 {
		t.Fatalf("%+v: %v", r, err)
	}
	if err := f.Faults().Err(); err != nil {
		t.Fatal(err)
	}
}

func TestFleetEchoes(t *testing.T) {
	f := three(t, newHall(t))
	dial(t, f, "/echo")
	plan := load.EchoPlan{InFlight: 6, Size: 64, Time: 50 * time.Millisecond, Grace: 5 * time.Second}
	r, err := f.Echo(t.Context(), plan, os.Getpid())
	for tries := 0; err == nil && r.Messages == 0 && tries < 100; tries++ { // none returned in the measured time
		r, err = f.Echo(t.Context(), plan, os.Getpid())
	}
	if err != nil || r.Messages == 0 || int(r.Latency.TotalCount()) != r.Messages || r.Server <= 0 || r.Client <= 0 || r.Busiest > r.Client || r.Elapsed < plan.Time {
		t.Errorf("%+v: %v", r, err)
	}
	if _, err := f.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestFleetReceives(t *testing.T) {
	h := newHall(t)
	f := three(t, h)
	dial(t, f, "/ws?user={user}")
	ctx := t.Context()
	if err := f.Receive(ctx, load.ReceivePlan{Size: 64}); err != nil {
		t.Fatal(err)
	}
	begin := load.Now()
	for u := range uint32(10) {
		h.push(t, u, load.Message{Kind: load.KindBroadcast, At: begin})
		h.push(t, u, load.Message{Kind: load.KindUser, Target: u, At: begin})
	}
	last, err := f.Arrived(ctx, 0)
	if err != nil || last < begin || last > load.Now() {
		t.Errorf("the last had it at %d: %v", last, err)
	}
	if err := f.Await(ctx, 20, 10*time.Second); err != nil {
		t.Error(err)
	}
	r, err := f.End(ctx, 1)
	if err != nil || r.Received != 20 || r.Messages != 20 || r.Latency.TotalCount() != 20 {
		t.Errorf("%+v: %v", r, err)
	}
	if err := f.Faults().Err(); err != nil {
		t.Error(err)
	}
}

func TestFleetFindsFaults(t *testing.T) {
	h := newHall(t)
	f := three(t, h)
	dial(t, f, "/ws?user={user}")
	ctx := t.Context()
	if err := f.Receive(ctx, load.ReceivePlan{Size: 64}); err != nil {
		t.Fatal(err)
	}
	for u := range uint32(9) { // not to the tenth, a connection of the last process
		h.push(t, u, load.Message{Kind: load.KindBroadcast})
	}
	soon, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if _, err := f.Arrived(soon, 0); err == nil {
		t.Error("Arrived reports a broadcast that did not reach all connections")
	}
	if err := f.Await(ctx, 10, 50*time.Millisecond); err == nil || !strings.Contains(err.Error(), "9 of 10") {
		t.Errorf("waiting for the tenth: %v", err)
	}
	if _, err := f.End(ctx, 1); err != nil {
		t.Fatal(err)
	}
	if f.Faults().Lost != 1 {
		t.Errorf("%+v", f.Faults())
	}
}

func TestFleetSticks(t *testing.T) {
	f := three(t, newHall(t))
	dial(t, f, "/ws?user={user}")
	// Of each process's three or four connections, the first.
	if n, err := f.Stick(t.Context(), 10); err != nil || n != 3 {
		t.Errorf("%d stuck: %v", n, err)
	}
}

func TestFleetChurns(t *testing.T) {
	f := three(t, newHall(t))
	r, err := f.Churn(t.Context(), load.ChurnPlan{Rate: 100, Time: 100 * time.Millisecond, Grace: 5 * time.Second, Path: "/ws?user={user}"})
	if err != nil || r.Messages != 10 || r.Closed != 10 {
		t.Errorf("%+v: %v", r, err)
	}
	if err := f.Faults().Err(); err != nil {
		t.Error(err)
	}
}

func TestFleetSeesWorkerEnd(t *testing.T) {
	f := three(t, newHall(t))
	f.workers[1].cmd.Process.Kill()
	if _, err := f.Check(t.Context()); err == nil {
		t.Error("no error from a fleet with a dead worker")
	}
}

func TestPack(t *testing.T) {
	h := hdrhistogram.New(1000, 100e9, 3)
	for i := range int64(1000) {
		h.RecordValue(i * i * 1000)
	}
	s, err := Pack(h)
	if err != nil {
		t.Fatal(err)
	}
	back, err := Unpack(s)
	if err != nil || !back.Equals(h) {
		t.Errorf("unequal after a round trip: %v", err)
	}
	for _, bad := range []string{"", "!", "AAAA"} {
		if _, err := Unpack(bad); err == nil {
			t.Errorf("%q unpacks", bad)
		}
	}
}

func TestPart(t *testing.T) {
	for _, tt := range []struct{ total, n, sum int }{{0, 3, 0}, {10, 3, 10}, {2, 3, 3}, {100, 1, 100}} {
		sum := 0
		for i := range tt.n {
			sum += part(tt.total, i, tt.n)
		}
		if sum != tt.sum {
			t.Errorf("%d in %d parts: %d", tt.total, tt.n, sum)
		}
	}
}
