package server

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"fanfare/netpoll"
)

// gathered sends in one write what was written since hold was set.
type gathered struct {
	net.Conn
	hold bool
	buf  bytes.Buffer
}

func (g *gathered) Write(b []byte) (int, error) {
	if g.hold {
		return g.buf.Write(b)
	}
	return g.Conn.Write(b)
}

// A client that sends more than a buffer holds right after its Finished, while crypto/tls is
// still busy with that, loses nothing.
func TestTLSDataAfterFinished(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		verify := make(chan struct{})
		cfg := serverTLS(t)
		cfg.VerifyConnection = func(tls.ConnectionState) error { // precedes reading Finished
			<-verify
			return nil
		}
		srv := start(t, Config{Transport: transport, TLS: NewTLS(cfg), Fallback: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(w, r.Body)
		})})
		raw, err := net.Dial("tcp", srv.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		g := &gathered{Conn: raw}
		c := tls.Client(g, clientTLS(tls.VersionTLS13))
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		body := strings.Repeat("question ", 40_000)
		g.hold = true
		fmt.Fprintf(c, "POST /page HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		sent := make(chan error, 1)
		go func() {
			_, err := raw.Write(g.buf.Bytes())
			sent <- err
		}()
		if transport != netpoll.Goroutine { // there nothing is read meanwhile
			await(t, "early data is received", func() bool { return srv.memory.Held() > 40<<10 })
		}
		close(verify)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if answer, err := io.ReadAll(resp.Body); string(answer) != body || err != nil {
			t.Errorf("the answer has %d bytes, %v", len(answer), err)
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
	})
}

// A first record that is longer than any record may be is rejected when as much of it has
// arrived as is kept.
func TestTLSFirstRecordTooLong(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		srv := start(t, Config{Transport: transport, TLS: NewTLS(serverTLS(t))})
		c, err := net.Dial("tcp", srv.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Write(append([]byte{22, 3, 1, 0xff, 0xff}, make([]byte, 16<<10)...))
		alert := make([]byte, 7)
		if _, err := io.ReadFull(c, alert); err != nil || alert[0] != 21 || alert[6] != 22 {
			t.Errorf("got % x, %v, want the alert record_overflow", alert, err)
		}
	})
}
