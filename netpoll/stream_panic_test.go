package netpoll

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// panickyConn has a method that panics. It has no descriptor.
type panickyConn struct {
	net.Conn
	method string
}

func (c panickyConn) check(method string) {
	if c.method == method {
		panic("in " + method)
	}
}

func (c panickyConn) Read(b []byte) (int, error)  { c.check("Read"); return c.Conn.Read(b) }
func (c panickyConn) Write(b []byte) (int, error) { c.check("Write"); return c.Conn.Write(b) }
func (c panickyConn) CloseWrite() error           { c.check("CloseWrite"); return nil }
func (c panickyConn) SetDeadline(t time.Time) error {
	c.check("SetDeadline")
	return c.Conn.SetDeadline(t)
}
func (c panickyConn) Close() error {
	err := c.Conn.Close()
	c.check("Close")
	return err
}

// lockedBuffer is a log that goroutines share.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A panic in an adopted net.Conn ends its connection, is logged and counted.
func TestPanicInAdoptedConn(t *testing.T) {
	for _, method := range []string{"Read", "Write", "CloseWrite", "SetDeadline", "Close"} {
		t.Run(method, func(t *testing.T) {
			var log lockedBuffer
			e, err := New(Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			ours, theirs := net.Pipe()
			defer theirs.Close()
			theirs.SetDeadline(time.Now().Add(patience))
			p := &pongs{closed: make(chan error, 1)}
			if err := e.Adopt(panickyConn{ours, method}, &p.Conn, p, nil); err != nil {
				t.Fatal(err)
			}
			if method != "Read" && method != "Write" {
				if _, err := io.ReadFull(theirs, make([]byte, len("first "))); err != nil {
					t.Fatal(err)
				}
				if method == "CloseWrite" {
					p.Seal(nil, false, HalfClose)
				} else {
					p.Conn.Close()
				}
			}
			select {
			case <-p.closed:
			case <-time.After(patience):
				t.Fatal("Handler.Close is not called")
			}
			if n := e.Stats().Panics; n != 1 {
				t.Errorf("%d panics are counted, want 1", n)
			}
			if got := log.String(); !strings.Contains(got, "where=netpoll.panickyConn."+method) || !strings.Contains(got, "stream_panic_test.go") {
				t.Errorf("the log is %q", got)
			}
			if n := e.streams.count(); n != 0 {
				t.Errorf("%d streams are left", n)
			}
		})
	}
}
