package netpoll

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"testing"
)

type echo struct {
	Conn
	closed chan error
}

func (h *echo) Data(c *Conn, b []byte)   { c.WriteBorrowed(b, CloseOnFull) }
func (h *echo) Close(c *Conn, err error) { h.closed <- err }

func TestEcho(t *testing.T) {
	for _, kind := range []Kind{Epoll, Easygo, Goroutine} {
		t.Run(kind.String(), func(t *testing.T) {
			e, err := New(Config{Transport: kind})
			if err != nil {
				t.Fatal(err)
			}
			closed := make(chan error, 10)
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			addr := ln.Addr().String()
			if err := e.Listen(ln, func(netip.AddrPort) (*Conn, Handler) {
				h := &echo{closed: closed}
				return &h.Conn, h
			}); err != nil {
				t.Fatal(err)
			}
			nc, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			part := bytes.Repeat([]byte("0123456789"), 3000)
			got := make([]byte, len(part))
			for range 100 {
				nc.Write(part)
				if _, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, part) {
					t.Fatalf("echo differs: %v", err)
				}
			}
			nc.Close()
			if err := <-closed; err != io.EOF {
				t.Errorf("Close(%v), want EOF", err)
			}
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
