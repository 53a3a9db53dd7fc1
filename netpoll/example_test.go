package netpoll_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"

	"fanfare/netpoll"
)

// line is a connection that answers each line. It embeds its Conn, so that a connection is
// one allocation.
type line struct {
	netpoll.Conn
	partial []byte // of a line that has not ended yet
	closed  chan error
}

func newLine() *line { return &line{closed: make(chan error, 1)} }

func (l *line) Open(c *netpoll.Conn) { c.Write([]byte("hello\n"), netpoll.CloseOnFull) }

// Data answers one line at a time. The engine presents the other lines again when other
// connections have had their turn.
func (l *line) Data(c *netpoll.Conn, b []byte) int {
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		l.partial = append(l.partial, b...) // b is borrowed
		return len(b)
	}
	text := string(l.partial) + string(b[:end])
	l.partial = l.partial[:0]
	if text == "quit" {
		c.Seal([]byte("bye\n"), false, netpoll.CloseFlushed)
		return len(b)
	}
	if c.WriteBorrowed([]byte("you said "+text+"\n"), netpoll.CloseOnFull) == netpoll.Full {
		c.Close() // the peer does not read
	}
	return end + 1
}

func (l *line) Close(c *netpoll.Conn, err error) { l.closed <- err }

// A server that answers lines.
func Example() {
	engine, err := netpoll.New(netpoll.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	sessions := make(chan *line, 1)
	err = engine.Listen(ln, func(peer netip.AddrPort) (*netpoll.Conn, netpoll.Handler) {
		l := newLine()
		sessions <- l
		return &l.Conn, l
	})
	if err != nil {
		log.Fatal(err)
	}

	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	io.WriteString(client, "one\ntwo\nquit\n")
	answers, err := io.ReadAll(client)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s", answers)
	if err := engine.Close(); err != nil { // returns after all calls of Handler.Close
		log.Fatal(err)
	}
	fmt.Println("closed:", <-(<-sessions).closed)
	// Output:
	// hello
	// you said one
	// you said two
	// bye
	// closed: use of closed network connection
}

// A connection that another server has accepted, and read a part of.
func ExampleEngine_Adopt() {
	engine, err := netpoll.New(netpoll.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	accepted, err := ln.Accept()
	if err != nil {
		log.Fatal(err)
	}

	l := newLine()
	if err := engine.Adopt(accepted, &l.Conn, l, []byte("read ahead\n")); err != nil {
		io.WriteString(accepted, "sorry\n") // after an error the connection is as it was
		accepted.Close()
		return
	}
	in := bufio.NewScanner(client)
	for in.Scan() {
		fmt.Println(in.Text())
		if in.Text() == "you said read ahead" {
			break
		}
	}
	engine.Close()
	fmt.Println("closed:", <-l.closed)
	// Output:
	// hello
	// you said read ahead
	// closed: use of closed network connection
}
