package api

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valyala/fasthttp"

	"fanfare/server"
)

// sendAll sends a whole batch, calls sent, and only then reads, as a naive client does. It
// returns the lines of the answer.
func (s *apiServer) sendAll(t *testing.T, line string, n int, sent func()) []string {
	t.Helper()
	c := s.raw()
	c.SetDeadline(time.Now().Add(2 * patience))
	fmt.Fprintf(c, "POST /v1/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", n*len(line))
	portion := strings.Repeat(line, 1000)
	for range n / 1000 {
		if _, err := io.WriteString(c, portion); err != nil {
			t.Fatal(err)
		}
	}
	sent()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%d, %d bytes, %v", resp.StatusCode, len(body), err)
	}
	return strings.Split(strings.TrimSuffix(string(body), "\n"), "\n")
}

// TestAPIBatchSentFirst: a client that sends 400,000 lines before it reads the first answer
// gets all of them.
func TestAPIBatchSentFirst(t *testing.T) {
	if raceEnabled {
		t.Skip("its goroutines do what those of TestAPIBatchDiscards do: runs without the race detector")
	}
	s := newAPIServer(t, server.Config{}, Config{}, nil)
	const n = 400_000
	answers := s.sendAll(t, `{"users":["u"],"data":1}`+"\n", n, func() {})
	if len(answers) != n {
		t.Fatalf("%d answers to %d lines", len(answers), n)
	}
	for i, got := range answers {
		if got != `{"receivers":0}` {
			t.Fatalf("line %d: %s", i, got)
		}
	}
	if n := s.api.answerBytes.Load(); n != 0 {
		t.Errorf("%d bytes are still counted", n)
	}
}

// TestAPIBatchTooManyAnswers: beyond the limit of one batch, or of all, the client gets the
// answers to the lines that were served, and then why the others were not.
func TestAPIBatchTooManyAnswers(t *testing.T) {
	for name, prepare := range map[string]func(*API){
		"of one batch":   func(a *API) { a.answerLimit = 1 << 20 },
		"of all batches": func(a *API) { a.answerTotal = 1 << 20 },
	} {
		t.Run(name, func(t *testing.T) {
			s := newAPIServer(t, server.Config{}, Config{}, prepare)
			// The answers are long, so that the kernel's buffers do not take them all.
			const n = 400_000
			answers := s.sendAll(t, "!\n", n, s.awaitTooManyAnswers)
			last := len(answers) - 1
			if !strings.Contains(answers[last], "too_many_answers") || last < (1<<20)/100 || last >= n {
				t.Errorf("%d answers, the last is %s", len(answers), answers[last])
			}
			for i, got := range answers[:last] {
				if !strings.Contains(got, "bad_json") {
					t.Fatalf("line %d: %s", i, got)
				}
			}
			if got := s.api.figures(); got.API.Lines != int64(last) || got.API.AnswersFull != 1 || got.API.AnswerBytes != 0 {
				t.Errorf("%d lines were answered, and counted %+v", last, got.API)
			}
			if got := s.call("GET", "/v1/stats", ""); got.status != 200 {
				t.Errorf("afterwards: %v", got)
			}
		})
	}
}

// TestAPIBatchDiscards: a client that has much left to send when its batch ends gets as far
// as to read the answers.
func TestAPIBatchDiscards(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{}, func(a *API) { a.answerLimit = 1 })
	line := "!" + strings.Repeat(" ", 200) + "\n" // 40 MB, more than the kernel takes
	answers := s.sendAll(t, line, 200_000, s.awaitTooManyAnswers)
	last := len(answers) - 1
	if !strings.Contains(answers[last], "too_many_answers") || s.api.lines.Load() != int64(last) {
		t.Errorf("%d answers to %d lines, the last is %s", last, s.api.lines.Load(), answers[last])
	}
}

// TestAPIBatchLingers: a client that goes on sending for longer than a rejected request may
// reads all answers after its batch has ended, however late.
func TestAPIBatchLingers(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{}, func(a *API) { a.answerLimit = 1 })
	c := s.raw()
	io.WriteString(c, "POST /v1/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, err := c.Write(bytes.Repeat([]byte("!\n"), 4<<10)); err != nil {
				return
			}
			if s.api.answersFull.Load() > 0 {
				time.Sleep(5 * time.Millisecond)
			}
		}
	}()
	s.awaitTooManyAnswers()
	r := bufio.NewReaderSize(c, 64<<10)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	body := bufio.NewReader(resp.Body)
	for lines, paused := 0, false; ; lines++ {
		if !paused && s.api.answerBytes.Load() == 0 { // the rest is in the kernel's buffers
			paused = true
			time.Sleep(lingerTime + lingerTime/2)
		}
		line, err := body.ReadString('\n')
		if err != nil {
			t.Fatalf("after %d lines: %v", lines, err)
		}
		if strings.Contains(line, "too_many_answers") {
			break
		}
	}
	if rest, err := io.ReadAll(body); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v after the last answer", rest, err)
	}
	c.Close()
	<-done
}

// TestAPIBatchEnds: after the last answer of a batch that has ended early, a client that
// neither sends nor closes is disconnected.
func TestAPIBatchEnds(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{}, func(a *API) { a.answerLimit, a.pause = 1, 20*time.Millisecond })
	c := s.raw()
	io.WriteString(c, "POST /v1/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n")
	for s.api.answersFull.Load() == 0 {
		if _, err := c.Write(bytes.Repeat([]byte("!\n"), 4<<10)); err != nil {
			t.Fatal(err)
		}
	}
	if rest, err := io.ReadAll(c); err != nil || !bytes.HasSuffix(rest, []byte("read answers while sending\"}}\n\r\n0\r\n\r\n")) {
		t.Fatalf("%.100q at the end, %v", rest[max(len(rest)-100, 0):], err)
	}
	for deadline := time.Now().Add(patience); len(s.api.conns.All()) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the connection is still open")
		}
	}
}

// TestAPIBatchShutdownWhileUnread: queued answers do not delay the end of the API.
func TestAPIBatchShutdownWhileUnread(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{}, func(a *API) { a.grace, a.answerLimit = 50*time.Millisecond, 1<<10 })
	c := s.raw()
	io.WriteString(c, "POST /v1/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n")
	go io.Copy(c, endless{})
	s.awaitTooManyAnswers()
	began := time.Now()
	s.api.Shutdown()
	if took := time.Since(began); took > patience/2 {
		t.Errorf("took %v", took)
	}
}

func (s *apiServer) awaitTooManyAnswers() {
	s.t.Helper()
	for deadline := time.Now().Add(patience); s.api.answersFull.Load() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatal("the answers are not too many")
		}
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	n := len(p) &^ 1
	copy(p, bytes.Repeat([]byte("!\n"), n/2))
	return n, nil
}

// deadlineConn accepts what is written, and notes the deadline.
type deadlineConn struct {
	net.Conn
	deadline time.Time
}

func (c *deadlineConn) SetWriteDeadline(t time.Time) error { c.deadline = t; return nil }
func (c *deadlineConn) Write(p []byte) (int, error)        { return len(p), nil }

// TestBatchEndHasTime: after the last answer, the end of the stream is not written under the
// short deadline of answers.
func TestBatchEndHasTime(t *testing.T) {
	now := time.Unix(1e9, 0)
	a := &API{now: func() time.Time { return now }, stall: batchStall, idle: batchIdle}
	under := new(deadlineConn)
	c := &conn{Conn: under, api: a, answers: a.queueAnswers(under)}
	var ctx fasthttp.RequestCtx
	ctx.Init2(c, nil, false)
	b := &batch{api: a, ctx: &ctx, conn: c}
	c.Write([]byte("{}\n"))
	if got := under.deadline.Sub(now); got != batchStall {
		t.Errorf("an answer has %v, want %v", got, batchStall)
	}
	now = now.Add(time.Second)
	if err := b.Close(); err != nil || c.answers != nil {
		t.Errorf("%v, the connection has answers: %v", err, c.answers != nil)
	}
	if got := under.deadline.Sub(now); got != writeTimeout {
		t.Errorf("the end has %v, want %v", got, writeTimeout)
	}
}

// TestBatchEndFollowsQueue: the end of the stream is written after what is queued, its empty
// chunk for example.
func TestBatchEndFollowsQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		under, peer := net.Pipe() // accepts what the other end reads
		defer under.Close()
		a := &API{now: time.Now, stall: batchStall, idle: batchIdle}
		c := &conn{Conn: under, api: a, answers: a.queueAnswers(under)}
		var ctx fasthttp.RequestCtx
		ctx.Init2(c, nil, false)
		b := &batch{api: a, ctx: &ctx, conn: c}
		c.Write([]byte("0\r\n"))
		go func() {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
			c.Write([]byte("\r\n"))
		}()
		synctest.Wait()
		got := make([]byte, len("0\r\n\r\n"))
		if _, err := io.ReadFull(peer, got); err != nil || string(got) != "0\r\n\r\n" {
			t.Errorf("got %q, %v", got, err)
		}
	})
}
