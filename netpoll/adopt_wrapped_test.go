package netpoll

import (
	"io"
	"net"
	"testing"
	"time"
)

// xorConn has the SyscallConn of the connection that it embeds, but transforms its bytes.
type xorConn struct{ *net.TCPConn }

func xor(b []byte) []byte {
	out := make([]byte, len(b))
	for i := range b {
		out[i] = b[i] ^ 0x5a
	}
	return out
}

func (c xorConn) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	copy(b, xor(b[:n]))
	return n, err
}

func (c xorConn) Write(b []byte) (int, error) { return c.TCPConn.Write(xor(b)) }

// pongs greets with "first " and echoes.
type pongs struct {
	Conn
	closed chan error
}

func (p *pongs) Open(c *Conn) { c.Write([]byte("first "), CloseOnFull) }

func (p *pongs) Data(c *Conn, b []byte) int {
	c.WriteBorrowed(b, CloseOnFull)
	return len(b)
}

func (p *pongs) Close(_ *Conn, err error) { p.closed <- err }

func TestAdoptWrapped(t *testing.T) {
	for _, transport := range []Transport{Default, Goroutine} {
		for _, wrapped := range []bool{false, true} {
			name := transport.String() + " plain"
			if wrapped {
				name = transport.String() + " wrapped"
			}
			t.Run(name, func(t *testing.T) {
				e, err := New(Config{Transport: transport})
				if err != nil {
					t.Fatal(err)
				}
				defer e.Close()
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer ln.Close()
				client, err := net.Dial("tcp", ln.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer client.Close()
				client.SetDeadline(time.Now().Add(10 * time.Second))
				accepted, err := ln.Accept()
				if err != nil {
					t.Fatal(err)
				}
				decode := func(b []byte) []byte { return b }
				if wrapped {
					accepted, decode = xorConn{accepted.(*net.TCPConn)}, xor
				}
				if want := !wrapped && e.Transport() != Goroutine; e.Watches(accepted) != want {
					t.Errorf("Watches is %v", !want)
				}
				p := &pongs{closed: make(chan error, 1)}
				if err := e.Adopt(accepted, &p.Conn, p, nil); err != nil {
					t.Fatal(err)
				}
				client.Write(decode([]byte("hello")))
				got := make([]byte, len("first hello"))
				if _, err := io.ReadFull(client, got); err != nil || string(decode(got)) != "first hello" {
					t.Errorf("got %q, %v", decode(got), err)
				}
				client.Close()
				if err := <-p.closed; err != io.EOF {
					t.Errorf("Close was called with %v", err)
				}
			})
		}
	}
}
