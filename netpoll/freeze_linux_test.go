package netpoll

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/sys/unix"
)

// moveTo hands a connection of one engine to another one, by way of JSON.
func moveTo(t *testing.T, from *session, e *Engine, to *session) {
	t.Helper()
	if got := from.engine.Freeze([]*Conn{&from.Conn}, patience); len(got) != 1 {
		t.Fatal("the connection is not frozen")
	}
	st, ok := from.Export()
	if !ok {
		t.Fatal("the connection is not exported")
	}
	b, err := json.Marshal(&st)
	if err != nil {
		t.Fatal(err)
	}
	var next State
	if err := json.Unmarshal(b, &next); err != nil {
		t.Fatal(err)
	}
	fd, err := from.Duplicate()
	if err != nil {
		t.Fatal(err)
	}
	to.ready.Store(true)
	if err := e.Import(fd, &to.Conn, to, nil, &next); err != nil {
		t.Fatal(err)
	}
	from.Abandon()
	if err := to.Start(next.Unread); err != nil {
		t.Fatal(err)
	}
}

func TestMoveConnection(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			a := newRig(t, Config{QueueBytes: 64 << 20}, network, nil)
			b := newRig(t, Config{QueueBytes: 64 << 20}, network, nil)
			nc, s := a.connect()
			long := strings.Repeat("0123456789abcdef", 1<<18)
			if o := s.Write([]byte(long), CloseOnFull); o != Queued {
				t.Fatalf("outcome %v: the message was not queued", o)
			}
			s.Write([]byte("droppable"), DropOldest)
			next := newSession(t, nil)
			moveTo(t, s, b.e, next)
			if o := s.Write([]byte("late"), Control); o != Gone {
				t.Errorf("outcome %v of a write to a connection that has moved: want Gone", o)
			}
			if next.Write([]byte(" end"), CloseOnFull) != Queued {
				t.Error("a message overtakes the queue")
			}
			must(t, nc, "echo")
			expect(t, nc, long+"droppable end")
			expect(t, nc, "echo")
			if s.ended.Load() {
				t.Error("Close was called for a connection that has moved")
			}
			if next.ID() != s.ID() {
				t.Errorf("the ID was %d, and is %d", s.ID(), next.ID())
			}
			nc.Close()
			await(t, next.closed)
		})
	}
}

func TestMoveUnreadBytes(t *testing.T) {
	hold, blocked := make(chan struct{}), make(chan struct{}, 16)
	a := newRigOf(t, Config{}, "tcp", func() *session {
		s := newSession(t, nil)
		first := true
		s.consume = func(s *session, b []byte) int {
			if first && b[0] == 'x' {
				first = false
				return len(b)
			}
			select {
			case blocked <- struct{}{}:
			default:
			}
			<-hold
			return 1
		}
		return s
	})
	b := newRig(t, Config{}, "tcp", nil)
	nc, s := a.connect()
	must(t, nc, "abcdef")
	await(t, blocked) // in the handler of abcdef; that of the first byte may not have returned before
	if got := a.e.Freeze([]*Conn{&s.Conn}, time.Millisecond); len(got) != 0 {
		t.Fatal("a connection whose handler has not returned was frozen")
	}
	frozen := make(chan int)
	go func() { frozen <- len(a.e.Freeze([]*Conn{&s.Conn}, patience)) }()
	eventually(t, "the request", func() bool { return s.has(flagFreeze) })
	close(hold)
	if await(t, frozen) != 1 {
		t.Fatal("the connection is not frozen")
	}
	must(t, nc, "gh")
	s.Thaw()
	got := a.e.Freeze([]*Conn{&s.Conn}, patience)
	for len(got) == 0 { // it may have been busy
		got = a.e.Freeze([]*Conn{&s.Conn}, patience)
	}
	s.Thaw()
	next := newSession(t, nil)
	var all bytes.Buffer
	done := make(chan struct{})
	next.data = func(s *session, b []byte) {
		if all.Write(b); strings.HasSuffix(all.String(), "!") {
			close(done)
		}
	}
	moveTo(t, s, b.e, next)
	must(t, nc, "!")
	await(t, done)
	if text := all.String(); !strings.HasSuffix("abcdefgh!", text) {
		t.Errorf("got %q: want the end of abcdefgh!", text)
	}
}

// TestDiscardKeepsConnection: an import that is discarded ends nothing.
func TestDiscardKeepsConnection(t *testing.T) {
	a := newRig(t, Config{}, "tcp", nil)
	b := newRig(t, Config{}, "tcp", nil)
	nc, s := a.connect()
	a.e.Freeze([]*Conn{&s.Conn}, patience)
	st, _ := s.Export()
	if s.Write([]byte("x"), Control) != Gone {
		t.Error("an exported connection can be written to")
	}
	fd, err := s.Duplicate()
	if err != nil {
		t.Fatal(err)
	}
	next := newSession(t, nil)
	if err := b.e.Import(fd, &next.Conn, next, nil, &st); err != nil {
		t.Fatal(err)
	}
	must(t, nc, "waits")
	next.Discard()
	s.Thaw()
	expect(t, nc, "waits")
}

// TestCloseOfSharedDescriptor: a peer sees the end although another process has a duplicate.
func TestCloseOfSharedDescriptor(t *testing.T) {
	a := newRig(t, Config{}, "tcp", nil)
	a.e.ShareDescriptors(true)
	nc, s := a.connect()
	fd, err := s.Duplicate()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	s.Conn.Close()
	expectEOF(t, nc)
}

func TestImportRejects(t *testing.T) {
	a := newRig(t, Config{}, "tcp", nil)
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	for name, st := range map[string]State{
		"no ID":      {},
		"long ID":    {ID: 1 << 40},
		"endings":    {ID: 1, Ending: 0x80},
		"begun":      {ID: 1, Begun: true},
		"policy":     {ID: 1, Queue: []Unsent{{Bytes: []byte("x"), Policy: 9}}},
		"not a peer": {ID: 1},
	} {
		s := newSession(t, nil)
		if err := a.e.Import(fds[0], &s.Conn, s, nil, &st); err == nil {
			t.Errorf("%s: imported", name)
		}
	}
}
