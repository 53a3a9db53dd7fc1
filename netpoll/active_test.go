package netpoll

import (
	"crypto/tls"
	"testing"
)

// A connection is active while bytes wait for its handler, wherever they are, and not
// when it is only open.
func TestActive(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		inside, release := make(chan struct{}), make(chan struct{})
		r := newRig(t, Config{Transport: transport, Workers: 1}, network, func(s *session, b []byte) {
			if b[0] == 'b' {
				close(inside)
				<-release
			}
		})
		blocked, a := r.connect()
		waiting, b := r.connect()
		_, idle := r.connect()
		for _, s := range []*session{a, b, idle} {
			eventually(t, "the turn is over", func() bool { return !s.Active() })
		}
		must(t, blocked, "b")
		await(t, inside)
		if !a.Active() {
			t.Error("a connection whose handler runs is not active")
		}
		if idle.Active() {
			t.Error("an idle connection is active")
		}
		if transport != Goroutine {
			must(t, waiting, "w") // the only worker is taken: nothing reads it, or notices
			eventually(t, "the bytes are seen", b.Active)
		}
		close(release)
		for _, s := range []*session{a, b} {
			eventually(t, "the turn is over", func() bool { return !s.Active() })
		}
		a.Conn.Close()
		await(t, a.closed)
		if a.Active() || new(Conn).Active() {
			t.Error("a connection that is not open is active")
		}
	})
}

// Bytes that Data has not consumed count as activity, too.
func TestActiveWithUnconsumed(t *testing.T) {
	pollers(t, func(t *testing.T, transport Transport) {
		none := func(*session, []byte) int { return 0 }
		r := newRigOf(t, Config{Transport: transport}, "tcp", func() *session { return consumer(t, none) })
		_, s := r.connect()
		for range 100 {
			if !s.Active() {
				t.Fatal("it is not active")
			}
		}
	})
}

// The bytes under a TLS connection are found, though its handler did not get them yet.
func TestActiveTLS(t *testing.T) {
	cert := certificate(t)
	e := newEngine(t, Config{})
	client, server := accepted(t, "tcp")
	inside, release := make(chan struct{}), make(chan struct{})
	s := newSession(t, func(*session, []byte) { inside <- struct{}{}; <-release })
	if err := e.Adopt(tls.Server(server, &tls.Config{Certificates: []tls.Certificate{cert}}), &s.Conn, s, nil); err != nil {
		t.Fatal(err)
	}
	tc := tls.Client(client, &tls.Config{InsecureSkipVerify: true})
	must(t, tc, "x")
	await(t, inside)
	if !s.Active() {
		t.Error("it is not active while its handler runs")
	}
	must(t, tc, "y")
	s.stream().handling.Store(false) // as if the goroutine had not come to its next Read
	if defaultTransport != Goroutine {
		eventually(t, "the record is seen", s.Active)
	}
	s.stream().handling.Store(true)
	release <- struct{}{}
	await(t, inside)
	release <- struct{}{}
	eventually(t, "the turn is over", func() bool { return !s.Active() })
}
