package server

import (
	"net"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fanfare/netpoll"
)

// segments returns how many TCP segments with data the client has received.
func (c *client) segments() (n uint32) {
	c.t.Helper()
	raw, err := c.Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		c.t.Fatal(err)
	}
	if e := raw.Control(func(fd uintptr) {
		var info *unix.TCPInfo
		if info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n = info.Data_segs_in
		}
	}); e != nil || err != nil {
		c.t.Fatal(e, err)
	}
	return n
}

// TestStoredMessageAndPingInOneSegment: a durable message costs one send, with the ping that
// follows it.
func TestStoredMessageAndPingInOneSegment(t *testing.T) {
	srv := start(t, withInbox(t))
	c := dial(t, srv, "/ws?user=alice")
	await(t, "the look at the inbox", func() bool {
		s := userSessions(srv, "alice")
		return len(s) == 1 && s[0].phase() == open && srv.Stats().Replay.Sessions == 0
	})
	// The end of a read turn, as that of the handshake, sends what other goroutines have gathered.
	s := userSessions(srv, "alice")[0]
	if frozen := srv.engine.Freeze([]*netpoll.Conn{&s.conn}, 20*time.Second); len(frozen) != 1 {
		t.Fatal("the read turn does not end")
	}
	before := c.segments()
	st := pushDurable(t, srv, "alice", "one")
	if got := c.messages(1, false); !slices.Equal(got, []string{"one"}) { // reads the ping, too
		t.Fatalf("got %q", got)
	}
	if n := c.segments() - before; n != 1 {
		t.Errorf("%d segments, want 1", n)
	}
	s.conn.Thaw()
	acked(t, srv, "alice", st.Offset)
}
