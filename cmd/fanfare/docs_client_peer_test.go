package main

import (
	"net"
	neturl "net/url"
	"slices"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// peer is a server that says exactly what a test wants.
type peer struct {
	t    *testing.T
	ln   net.Listener
	conn net.Conn
}

func newPeer(t *testing.T) *peer {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, ln: ln}
	t.Cleanup(func() { ln.Close(); p.drop() })
	return p
}

func (p *peer) url(user string) string { return "ws://" + p.ln.Addr().String() + "/ws?user=" + user }

// accept waits for the next handshake and wants these parameters in its query, and no
// others.
func (p *peer) accept(want ...string) {
	p.t.Helper()
	p.ln.(*net.TCPListener).SetDeadline(time.Now().Add(bound))
	c, err := p.ln.Accept()
	if err != nil {
		p.t.Fatal(err)
	}
	p.conn = c
	c.SetDeadline(time.Now().Add(bound))
	var query neturl.Values
	u := ws.Upgrader{
		Protocol: func(b []byte) bool { return string(b) == "fanfare.v1" },
		OnRequest: func(uri []byte) error {
			u, err := neturl.ParseRequestURI(string(uri))
			query = u.Query()
			return err
		},
	}
	hs, err := u.Upgrade(c)
	if err != nil || hs.Protocol != "fanfare.v1" {
		p.t.Fatalf("handshake: protocol %q, %v", hs.Protocol, err)
	}
	var got []string
	for name, values := range query {
		for _, v := range values {
			got = append(got, name+"="+v)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		p.t.Fatalf("the client connected with %q, want %q", got, want)
	}
}

// say sends objects.
func (p *peer) say(objects ...string) {
	p.t.Helper()
	for _, o := range objects {
		if err := wsutil.WriteServerText(p.conn, []byte(o)); err != nil {
			p.t.Fatal(err)
		}
	}
}

// acked wants this acknowledgement next.
func (p *peer) acked(want string) {
	p.t.Helper()
	got, err := wsutil.ReadClientText(p.conn)
	if err != nil || string(got) != want {
		p.t.Fatalf("the client sent %s (%v), want %s", got, err, want)
	}
}

// drop breaks the connection, as networks do.
func (p *peer) drop() {
	if p.conn != nil {
		p.conn.Close()
	}
}
