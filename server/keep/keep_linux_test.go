package keep

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/gobwas/ws"

	"fanfare/server"
	"fanfare/server/inbox"
	"fanfare/server/internal/handover"
)

// bound is above what anything takes.
const bound = 20 * time.Second

var quiet = slog.New(slog.DiscardHandler)

// pipe returns a descriptor, which belongs to the caller, and a file at whose end it can be seen
// whether that was closed.
func pipe(t *testing.T) (fd int, other *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	t.Cleanup(func() { r.Close() })
	if fd, err = duplicate(int(w.Fd())); err != nil {
		t.Fatal(err)
	}
	return fd, r
}

// closed reports whether no descriptor of a pipe can be written to.
func closed(r *os.File) bool {
	r.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := r.Read(make([]byte, 1))
	return err != nil && !os.IsTimeout(err)
}

func TestNoteSessions(t *testing.T) {
	w := &Watch{held: make(map[uint64]*held)}
	note := func(all sessions, fds ...int) error {
		t.Helper()
		text, err := json.Marshal(&all)
		if err != nil {
			t.Fatal(err)
		}
		m := handover.Message{Kind: handover.Kept, Payload: text, FDs: fds}
		defer m.CloseFDs()
		return w.note(&m)
	}
	a, ofA := pipe(t)
	b, ofB := pipe(t)
	state := []byte(`{}`)
	if err := note(sessions{Count: 3, Sessions: []session{{ID: 1, Number: 7, New: true, State: state}, {ID: 2, Number: 8, New: true, Stream: true, State: state}}}, a, b); err != nil {
		t.Fatal(err)
	}
	if got := w.held[1]; got.fd != a || got.number != 7 || got.stream || w.held[2].fd != b || !w.held[2].stream || w.count != 3 {
		t.Fatalf("held %+v and %+v of %d", got, w.held[2], w.count)
	}
	// Another version of a session has no descriptor, and what has ended is closed.
	if err := note(sessions{Ended: []uint64{2, 9}, Sessions: []session{{ID: 1, Version: 4, Number: 7, State: []byte(`{"a":1}`)}}}); err != nil {
		t.Fatal(err)
	}
	if h := w.held[1]; h.fd != a || h.version != 4 || string(h.state) != `{"a":1}` || len(w.held) != 1 || closed(ofA) || !closed(ofB) {
		t.Errorf("held %+v, of %d; closed: %v, %v", h, len(w.held), closed(ofA), closed(ofB))
	}
	// An ID that was used before is another session.
	c, ofC := pipe(t)
	if err := note(sessions{Ended: []uint64{1}, Sessions: []session{{ID: 1, Number: 9, New: true, State: state}}}, c); err != nil {
		t.Fatal(err)
	}
	if h := w.held[1]; h.fd != c || h.number != 9 || !closed(ofA) || closed(ofC) {
		t.Errorf("held %+v; closed: %v, %v", h, closed(ofA), closed(ofC))
	}
	for _, bad := range []session{{ID: 5, State: state}, {ID: 5, New: true, State: state}} {
		if err := note(sessions{Sessions: []session{bad}}); err == nil || !strings.Contains(err.Error(), "session 5 came without a descriptor") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	// Descriptors that no session names are closed.
	d, ofD := pipe(t)
	if err := note(sessions{Count: 1}, d); err != nil || !closed(ofD) {
		t.Errorf("%v; closed: %v", err, closed(ofD))
	}
	if err := w.note(&handover.Message{Kind: handover.Begin}); err == nil || !strings.Contains(err.Error(), "unexpected begin") {
		t.Errorf("another message: %v", err)
	}
	w.drop(1)
}

// rig is a server in this process, and what a keeper knows of it.
type rig struct {
	t     *testing.T
	srv   *server.Server
	watch *Watch
	lines chan string // of the log of the link
	stop  context.CancelFunc
}

func newRig(t *testing.T, cfg server.Config) *rig {
	t.Helper()
	w, socket, memory, err := NewWatch()
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.FileConn(socket)
	socket.Close()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Listen, cfg.Logger = "127.0.0.1:0", quiet
	srv, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, srv: srv, watch: w, lines: make(chan string, 1024)}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	log := slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if _, err := Serve(ctx, srv, c.(*net.UnixConn), memory, log); err != nil {
		t.Fatal(err)
	}
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		ctx, cancel := context.WithTimeout(context.Background(), bound)
		defer cancel()
		srv.Shutdown(ctx)
	})
	return r
}

// Write takes a line of the log.
func (r *rig) Write(b []byte) (int, error) {
	r.lines <- string(b)
	return len(b), nil
}

// await waits for a line of the log with a text.
func (r *rig) await(text string) {
	r.t.Helper()
	for {
		select {
		case line := <-r.lines:
			if strings.Contains(line, text) {
				return
			}
		case <-time.After(bound):
			r.t.Fatalf("the log has no %q", text)
		}
	}
}

func (r *rig) dial(path string) net.Conn {
	r.t.Helper()
	conn, br, _, err := ws.Dialer{Timeout: bound, Protocols: []string{"fanfare.v1"}}.Dial(context.Background(), "ws://"+r.srv.Addr().String()+path)
	if err != nil {
		r.t.Fatal(err)
	}
	if br != nil {
		ws.PutReader(br)
	}
	r.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(bound))
	return conn
}

func (r *rig) open(path string) net.Conn {
	r.t.Helper()
	conn := r.dial(path)
	r.await("new=1")
	return conn
}

// wantClose reads a close frame with 1012, and the end of the stream.
func wantClose(t *testing.T, conn net.Conn) {
	t.Helper()
	h, err := ws.ReadHeader(conn)
	if err != nil || h.OpCode != ws.OpClose || h.Length > ws.MaxControlFramePayloadSize {
		t.Fatalf("frame %+v, %v: want a close frame", h, err)
	}
	payload := make([]byte, h.Length)
	if _, err := io.ReadFull(conn, payload); err != nil {
		t.Fatal(err)
	}
	if code, _ := ws.ParseCloseFrameData(payload); code != 1012 {
		t.Fatalf("a close frame with %d: want 1012", code)
	}
	if b, err := io.ReadAll(conn); err != nil || len(b) > 0 {
		t.Fatalf("%d bytes follow the close frame, %v", len(b), err)
	}
}

// TestCollect: the keeper has the sessions that were at rest, and closes the others.
func TestCollect(t *testing.T) {
	r := newRig(t, server.Config{Endpoints: []server.Endpoint{server.EchoEndpoint("/echo")}})
	idle, half, gone := r.open("/echo"), r.open("/echo"), r.open("/echo")
	gone.Close()
	r.await("ended=1")
	r.stop() // what the keeper knows stays as it is, and the marks go on
	<-r.watch.done
	half.Write([]byte{0x81, 0x85, 1, 2})
	for end := time.Now().Add(bound); ; time.Sleep(time.Millisecond) {
		found := make(map[server.Found]int)
		for id, h := range r.watch.held {
			found[r.watch.marks.Look(h.number, id, h.version)]++
		}
		if found[server.FoundAtRest] == 1 && found[server.FoundBusy] == 1 && len(found) == 2 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("found %v: want one at rest, and one that is busy", found)
		}
	}
	k := &Sessions{Started: time.Now(), Logger: quiet}
	if c := k.Collect(r.watch); c != (Collected{Kept: 1, Closed: 1}) || k.Len() != 1 {
		t.Errorf("collected %+v, and %d sessions: want one kept and one closed", c, k.Len())
	}
	wantClose(t, half)
	k.Close()
	wantClose(t, idle)
}

// TestSessionThatCannotBeEncoded: it is not kept, and others are.
func TestSessionThatCannotBeEncoded(t *testing.T) {
	st, err := inbox.Open(context.Background(), inbox.Config{Dir: t.TempDir(), Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(st.Close)
	bad := server.PushEndpoint("/bad")
	bad.Hooks.OnOpen = func(s *server.Session) {
		if err := s.SubscribeAfter(server.Position{Topic: "news", Epoch: "\xff", Offset: 1}); err != nil {
			t.Error(err)
		}
	}
	r := newRig(t, server.Config{Store: st, DurableTopics: []string{"news"}, Endpoints: []server.Endpoint{bad, server.PushEndpoint("/ws")}})
	r.dial("/bad?user=a")
	r.await("session is not kept")
	r.open("/ws?user=b")
	r.stop()
	<-r.watch.done
	if r.watch.err != nil || len(r.watch.held) != 1 {
		t.Errorf("%d sessions are kept, %v: want one", len(r.watch.held), r.watch.err)
	}
	for _, h := range r.watch.held {
		closeAll([]int{h.fd})
	}
}
