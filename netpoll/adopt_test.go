package netpoll

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// accepted returns both ends of a connection that net has accepted.
func accepted(t testing.TB, network string) (client, server net.Conn) {
	t.Helper()
	ln := listen(t, network)
	defer ln.Close()
	client, err := net.Dial(network, ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	client.SetDeadline(time.Now().Add(patience))
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

func newEngine(t testing.TB, cfg Config) *Engine {
	t.Helper()
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("Engine.Close: %v", err)
		}
	})
	return e
}

func TestAdopt(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		for name, pending := range map[string][]byte{"nothing pending": nil, "pending": []byte("pending ")} {
			t.Run(name, func(t *testing.T) {
				e := newEngine(t, Config{Transport: transport})
				client, server := accepted(t, network)
				must(t, client, "early ") // before the engine watches
				before := openDescriptors()
				s := newSession(t, nil)
				if err := e.Adopt(server, &s.Conn, s, pending); err != nil {
					t.Fatal(err)
				}
				must(t, client, "late")
				expect(t, client, string(pending)+"early late")
				if after := openDescriptors(); after != before {
					t.Errorf("%d descriptors more than before", after-before)
				}
				if n := e.Opened(); n != 1 {
					t.Errorf("%d connections are open", n)
				}
				if transport != Goroutine {
					if _, err := server.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
						t.Errorf("the net.Conn still works: %v", err)
					}
				}
				s.Conn.Close()
				wantClosed(t, s, net.ErrClosed)
				expectEOF(t, client)
				eventually(t, "the descriptor is closed", func() bool { return openDescriptors() <= before-1 })
			})
		}
	})
}

func TestAdoptAndEndInPending(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		for name, end := range map[string]func(s *session){
			"close":   func(s *session) { s.Conn.Close() },
			"flushed": func(s *session) { s.Cork(); s.Seal([]byte("bye"), false, CloseFlushed) },
		} {
			t.Run(name, func(t *testing.T) {
				e := newEngine(t, Config{Transport: transport})
				client, server := accepted(t, network)
				s := newSession(t, func(s *session, b []byte) { end(s) })
				if err := e.Adopt(server, &s.Conn, s, []byte("x")); err != nil {
					t.Fatal(err)
				}
				wantClosed(t, s, net.ErrClosed)
				if name == "flushed" {
					expect(t, client, "bye")
				}
				expectEOF(t, client)
			})
		}
	})
}

// An adopted socket may have been made blocking, as File does. It must not block a
// worker.
func TestAdoptBlockingSocket(t *testing.T) {
	pollers(t, func(t *testing.T, transport Transport) {
		e := newEngine(t, Config{Transport: transport, Workers: 1})
		client, server := accepted(t, "tcp")
		f, err := server.(*net.TCPConn).File()
		if err != nil {
			t.Fatal(err)
		}
		f.Fd() // makes the socket blocking, and so the connection's descriptor
		defer f.Close()
		s := newSession(t, nil)
		if err := e.Adopt(server, &s.Conn, s, nil); err != nil {
			t.Fatal(err)
		}
		big := bytes.Repeat([]byte("."), 64<<10) // a full read, so that there is a second one
		go client.Write(big)
		expect(t, client, string(big))
		if got := s.Write(make([]byte, 32<<20), CloseOnFull); got != Queued {
			t.Errorf("Write = %v, want Queued", got)
		}
	})
}

func TestAdoptTLS(t *testing.T) {
	cert := certificate(t)
	for _, transport := range transports {
		t.Run(transport.String(), func(t *testing.T) {
			e := newEngine(t, Config{Transport: transport})
			client, server := accepted(t, "tcp")
			s := newSession(t, nil)
			if err := e.Adopt(tls.Server(server, &tls.Config{Certificates: []tls.Certificate{cert}}), &s.Conn, s, nil); err != nil {
				t.Fatal(err)
			}
			tc := tls.Client(client, &tls.Config{InsecureSkipVerify: true})
			must(t, tc, "through TLS")
			expect(t, tc, "through TLS")
			if a := s.RemoteAddr().String(); a != client.LocalAddr().String() {
				t.Errorf("RemoteAddr = %v", a)
			}
			// A message that is longer than the queue needs an empty queue, and the
			// goroutine that wrote the echo may not have removed it yet.
			eventually(t, "the echo is off the queue", func() bool { return s.Queued() == 0 })
			long := bytes.Repeat([]byte("long"), 100_000)
			if got := s.Write(long, CloseOnFull); !got.Delivered() {
				t.Fatalf("Write = %v", got)
			}
			s.Seal([]byte("bye"), false, HalfClose)
			expect(t, tc, string(long)+"bye")
			expectEOF(t, tc) // with close_notify, otherwise it is an error
			tc.Close()
			wantClosed(t, s, io.EOF)
		})
	}
}

// Conn.Close never blocks, although sending close_notify to a peer that does not read
// does.
func TestCloseTLSDoesNotBlock(t *testing.T) {
	cert := certificate(t)
	e := newEngine(t, Config{})
	client, server := accepted(t, "tcp")
	s := newSession(t, nil)
	if err := e.Adopt(tls.Server(server, &tls.Config{Certificates: []tls.Certificate{cert}}), &s.Conn, s, nil); err != nil {
		t.Fatal(err)
	}
	tc := tls.Client(client, &tls.Config{InsecureSkipVerify: true})
	must(t, tc, "x")
	expect(t, tc, "x")
	raw := s.stream().nc.(*tls.Conn).NetConn()
	raw.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	io.Copy(raw, zeros{}) // until the socket is full
	raw.SetWriteDeadline(time.Time{})
	done := make(chan struct{})
	go func() { s.Conn.Close(); close(done) }()
	select {
	case <-done:
	case <-time.After(patience):
		t.Error("Close blocks")
	}
	client.Close()
	wantClosed(t, s, net.ErrClosed)
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestAdoptAfterClose(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		e := newEngine(t, Config{Transport: transport})
		e.Close()
		_, server := accepted(t, network)
		defer server.Close()
		s := newSession(t, nil)
		if err := e.Adopt(server, &s.Conn, s, []byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Adopt: %v", err)
		}
		ln := listen(t, network)
		if err := e.Listen(ln, rejectAll); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Listen: %v", err)
		}
		if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the listener is open: %v", err)
		}
		if s.ready.Load() || s.started.Load() || s.ended.Load() {
			t.Error("the handler was called")
		}
	})
}

// An Adopt or Listen during Close either fails, or its connection is closed when Close
// returns.
func TestCloseRacesAdopt(t *testing.T) {
	rounds := 100
	if testing.Short() {
		rounds = 10
	}
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		ln := listen(t, network)
		defer ln.Close()
		for range rounds {
			e, err := New(Config{Transport: transport})
			if err != nil {
				t.Fatal(err)
			}
			var conns []net.Conn
			var sessions []*session
			for range 4 {
				nc, err := net.Dial(network, ln.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				server, err := ln.Accept()
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
				conns, sessions = append(conns, server), append(sessions, newSession(t, nil))
			}
			var wg sync.WaitGroup
			var adopted [4]bool
			for i, s := range sessions {
				wg.Go(func() {
					adopted[i] = e.Adopt(conns[i], &s.Conn, s, []byte("x")) == nil
					if !adopted[i] {
						conns[i].Close()
					}
				})
			}
			l := listen(t, network)
			wg.Go(func() {
				e.Listen(l, func(netip.AddrPort) (*Conn, Handler) { return nil, nil })
			})
			e.Close()
			for _, s := range sessions {
				if s.started.Load() && !s.ended.Load() {
					t.Error("a connection is open after Close")
				}
			}
			wg.Wait()
			for i, s := range sessions {
				if adopted[i] != s.ended.Load() {
					t.Errorf("adopted %v, closed %v", adopted[i], s.ended.Load())
				}
			}
			if nc, err := net.Dial(network, l.Addr().String()); err == nil {
				nc.Close()
				t.Error("a listener is open after Close")
			}
		}
	})
}

// An engine that has begun to close opens no connection, because its workers may have
// ended. (Adopt and Listen check before; this is the moment between.)
func TestOpenWhileClosing(t *testing.T) {
	if defaultTransport == Goroutine {
		t.Skip("this platform has no poller")
	}
	e := newEngine(t, Config{})
	client, server := accepted(t, "tcp")
	fd, err := dupDescriptor(server)
	if err != nil {
		t.Fatal(err)
	}
	server.Close()
	e.closing.Store(true)
	s := newSession(t, nil)
	if err := e.open(fd, &s.Conn, s); !errors.Is(err, net.ErrClosed) {
		t.Errorf("open: %v", err)
	}
	s.Conn.Close() // does nothing
	expectEOF(t, client)
	if s.ready.Load() || s.started.Load() || s.ended.Load() || e.Opened() != 0 || e.Stats().Opened != 0 {
		t.Error("it was opened")
	}
	e.closing.Store(false) // so that Close works
}
