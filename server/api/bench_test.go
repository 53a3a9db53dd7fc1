package api

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"fanfare/frame"
	"fanfare/server"
)

// discard reads and drops everything that the client receives.
func (c *wsClient) discard() {
	c.SetDeadline(time.Time{})
	go io.Copy(io.Discard, c.Conn)
}

// BenchmarkAPIPush sends one push after another over one HTTP connection. The client
// allocates nothing.
func BenchmarkAPIPush(b *testing.B) {
	for _, size := range []int{128, 16 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := newAPIServer(b, server.Config{}, Config{}, nil)
			alice, c := s.connect("/ws?user=alice"), s.raw()
			alice.SetDeadline(time.Time{})
			c.SetDeadline(time.Time{})
			frame := make([]byte, frame.HeaderSize(size)+size)
			request := fmt.Appendf(nil, "POST /v1/users/alice/push HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", size)
			request = append(request, make([]byte, size)...)
			answers := bufio.NewReader(c)
			once := func() {
				pushOnce(b, c, answers, request)
				if _, err := io.ReadFull(alice, frame); err != nil {
					b.Fatal(err)
				}
			}
			once()
			b.ReportAllocs()
			for b.Loop() {
				once()
			}
		})
	}
}

// pushOnce sends a request and reads its answer.
func pushOnce(t testing.TB, c net.Conn, answers *bufio.Reader, request []byte) {
	if _, err := c.Write(request); err != nil {
		t.Fatal(err)
	}
	for {
		line, err := answers.ReadSlice('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line[0] == '{' {
			if string(line) != `{"receivers":1}`+"\n" {
				t.Fatalf("%s", line)
			}
			return
		}
	}
}

// BenchmarkAPIBatch pushes to single users in one batch. The client sends 64 lines at a
// time and does not wait for answers before it sends more.
func BenchmarkAPIBatch(b *testing.B) {
	const users, portion = 100, 64
	s := newAPIServer(b, server.Config{}, Config{}, nil)
	for i := range users {
		s.connect(fmt.Sprintf("/ws?user=user-%d", i)).discard()
	}
	c := s.raw()
	c.SetDeadline(time.Time{})
	io.WriteString(c, "POST /v1/batch HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
	var lines [users][]byte
	for i := range lines {
		lines[i] = fmt.Appendf(nil, `{"users":["user-%d"],"data":{"type":"message","from":"someone","id":%d,"text":"a text of the usual length"}}`+"\n", i, i)
	}
	answered := make(chan int)
	go func() {
		r, n := bufio.NewReaderSize(c, 64<<10), 0
		for n < b.N {
			line, err := r.ReadSlice('\n')
			if err != nil {
				break
			}
			if line[0] == '{' {
				n++
			}
		}
		answered <- n
	}()
	b.ReportAllocs()
	b.ResetTimer()
	var chunk, body []byte
	for sent := 0; sent < b.N; {
		body = body[:0]
		for n := min(portion, b.N-sent); n > 0; n-- {
			body = append(body, lines[sent%users]...)
			sent++
		}
		chunk = append(append(fmt.Appendf(chunk[:0], "%x\r\n", len(body)), body...), "\r\n"...)
		if _, err := c.Write(chunk); err != nil {
			b.Fatal(err)
		}
	}
	if n := <-answered; n != b.N {
		b.Fatalf("%d of %d lines were answered", n, b.N)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pushes/s")
	io.WriteString(c, "0\r\n\r\n")
}

// BenchmarkDocument parses one line of a batch.
func BenchmarkDocument(b *testing.B) {
	line := []byte(`{"users":["user-1"],"data":{"type":"message","from":"someone","id":7,"text":"a text of the usual length"}}`)
	var d document
	b.ReportAllocs()
	for b.Loop() {
		if p := d.parse(line); p != nil {
			b.Fatal(p)
		}
	}
}
