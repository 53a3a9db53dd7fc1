package api

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"fanfare/server"
	"fanfare/server/api/internal/body"
)

// batchClient streams lines to /v1/batch and reads answers.
type batchClient struct {
	t  testing.TB
	in *io.PipeWriter
	*bufio.Reader
	closer io.Closer
}

func (s *apiServer) openBatch() *batchClient {
	s.t.Helper()
	r, w := io.Pipe()
	req, err := http.NewRequest("POST", "http://"+s.api.Addr().String()+"/v1/batch", r)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/x-ndjson" {
		s.t.Fatalf("%s %v", resp.Status, resp.Header)
	}
	s.t.Cleanup(func() {
		w.CloseWithError(io.ErrUnexpectedEOF)
		resp.Body.Close()
	})
	return &batchClient{s.t, w, bufio.NewReader(resp.Body), resp.Body}
}

func (b *batchClient) send(lines string) {
	b.t.Helper()
	if _, err := io.WriteString(b.in, lines); err != nil {
		b.t.Fatal(err)
	}
}

// answer reads one line.
func (b *batchClient) answer() string {
	b.t.Helper()
	line, err := b.ReadString('\n')
	if err != nil {
		b.t.Fatalf("%q, %v", line, err)
	}
	return strings.TrimSuffix(line, "\n")
}

func (b *batchClient) expect(part string) {
	b.t.Helper()
	if got := b.answer(); !strings.Contains(got, part) {
		b.t.Errorf("got %s, want %s", got, part)
	}
}

func (b *batchClient) expectEnd() {
	b.t.Helper()
	if rest, err := io.ReadAll(b); err != nil || len(rest) > 0 {
		b.t.Errorf("%q, %v after the last answer", rest, err)
	}
}

// TestAPIBatch: answers come one by one, in order, while the request goes on.
func TestAPIBatch(t *testing.T) {
	s := newAPIServer(t, server.Config{MaxPayload: 1000}, Config{}, nil)
	alice := s.connect("/ws?user=alice&topic=news")
	b := s.openBatch()
	tests := []struct{ name, line, want string }{
		{"data", `{"users":["alice"],"data":{"n":1}}`, `{"receivers":1}`},
		{"null is not a user of a line before", `{"users":[null],"text":"secret"}`, `"bad_name"`},
		{"offline user", `{"users":["bob"],"data":1}`, `{"receivers":0}`},
		{"topic", `{"topics":["news"],"text":"n"}`, `{"receivers":1}`},
		{"not JSON", `{"users":`, `{"error":{"code":"bad_json","message":"at byte `},
		{"goes on after an error", `{"broadcast":true,"text":"x"}`, `{"receivers":1}`},
		{"bad name", `{"users":[""],"data":1}`, `"bad_name"`},
		{"nor a topic of one", `{"topics":[null],"text":"secret"}`, `"bad_name"`},
		{"payload too big", `{"users":["alice"],"text":"` + strings.Repeat("x", 1001) + `"}`, `"too_big","message":"the payload`},
		{"line that fills the buffer twice", strings.Repeat(" ", 40<<10) + `{"users":["alice"],"data":2}`, `{"receivers":1}`},
		{"longest line", `{"users":["alice"],"data":3}` + strings.Repeat(" ", documentLimit(1000)-28), `{"receivers":1}`},
		{"line too long", `{"users":["alice"],"data":4}` + strings.Repeat(" ", documentLimit(1000)-27), `"too_big","message":"the line`},
		{"line far too long", strings.Repeat("x", 1<<20), `"too_big","message":"the line`},
		{"carriage return", `{"users":["alice"],"data":5}` + "\r", `{"receivers":1}`},
		{"blank lines have no answer", "\n \n\r\n" + `{"users":["alice"],"data":6}`, `{"receivers":1}`},
		{"several at once", `{"users":["offline"],"data":7}` + "\nx\n" + `{"users":["alice"],"data":7}`, `{"receivers":0}`},
		{"second of several", "", `bad_json`},
		{"third of several", "", `{"receivers":1}`},
	}
	for _, tt := range tests {
		if tt.line != "" {
			b.send(tt.line + "\n")
		}
		if got := b.answer(); !strings.Contains(got, tt.want) {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
	b.send(`{"users":["alice"],"data":"last, without a line feed"}`)
	b.in.Close()
	b.expect(`{"receivers":1}`)
	b.expectEnd()
	for _, want := range []string{`{"n":1}`, "n", "x", "2", "3", "5", "6", "7", `"last, without a line feed"`} {
		alice.expect(server.Text, want)
	}
}

// TestAPIBatchAtOnce: a batch with a length, as curl --data-binary sends one, and
// more answers than fit into one part.
func TestAPIBatchAtOnce(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{}, nil)
	var in, want strings.Builder
	for i := range 5000 {
		if i%7 == 0 {
			in.WriteString("!\n")
			want.WriteString(`{"error":{"code":"bad_json","message":"at byte 0: invalid character '!' at start of value"}}` + "\n")
			continue
		}
		fmt.Fprintf(&in, `{"users":["u%d"],"data":%d}`+"\n", i, i)
		want.WriteString(`{"receivers":0}` + "\n")
	}
	if got := s.call("POST", "/v1/batch", in.String()); got.status != 200 || got.body != want.String() {
		t.Errorf("got %d and %d bytes, want %d", got.status, len(got.body), want.Len())
	}
	if got := s.call("POST", "/v1/batch", ""); got.status != 200 || got.body != "" {
		t.Errorf("empty batch: %v", got)
	}
	if got := s.call("POST", "/v1/stats", ""); got.status != 405 {
		t.Errorf("the connection cannot be used any more: %v", got)
	}
}

// TestBatchLineMemory: of a line that is too long, no more is stored than the limit.
func TestBatchLineMemory(t *testing.T) {
	const limit, window = 1000, 64
	b := &batch{limit: limit}
	b.in = bufio.NewReaderSize(strings.NewReader(strings.Repeat("x", 1<<20)+"\nnext\n"), window)
	if _, p := b.next(); p == nil || p.Code != "too_big" {
		t.Errorf("got %v", p)
	}
	if stored := cap(b.long.B); stored > cap(body.New().B) {
		t.Errorf("%d bytes are stored, want at most %d", stored, cap(body.New().B))
	}
	if line, p := b.next(); p != nil || string(line) != "next\n" {
		t.Errorf("got %q, %v", line, p)
	}
}

// TestAPIBatchCutOff: half a line at the end of a broken connection is not served.
func TestAPIBatchCutOff(t *testing.T) {
	const line = `{"broadcast":true,"text":"x"}`
	for name, framing := range map[string]string{
		"length": "Content-Length: 1000\r\n\r\n" + line,
		"chunks": "Transfer-Encoding: chunked\r\n\r\n1d\r\n" + line + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := newAPIServer(t, server.Config{}, Config{}, nil)
			alice := s.connect("/ws?user=alice")
			c := s.raw()
			io.WriteString(c, "POST /v1/batch HTTP/1.1\r\nHost: localhost\r\n"+framing)
			c.(*net.TCPConn).CloseWrite()
			if got := readAnswer(t, c); got.status != 200 || got.errorCode() != "bad_request" {
				t.Errorf("got %v", got)
			}
			s.push("alice", server.Text, []byte("next"))
			alice.expect(server.Text, "next")
		})
	}
}

// TestAPIBatchOutlivesReadTimeout: the timeout for whole requests is not for batches.
func TestAPIBatchOutlivesReadTimeout(t *testing.T) {
	const readTimeout = 50 * time.Millisecond
	s := newAPIServer(t, server.Config{}, Config{}, func(a *API) { a.http.ReadTimeout = readTimeout })
	b := s.openBatch()
	for range 3 {
		b.send(`{"users":["a"],`) // half a line
		witness := s.raw()        // is cut off when the timeout has passed
		io.WriteString(witness, "POST /v1/broadcast HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf")
		if got := readAnswer(t, witness); got.status != 408 || got.errorCode() != "timeout" {
			t.Fatalf("the witness got %v", got)
		}
		b.send(`"data":1}` + "\n")
		b.expect(`{"receivers":0}`)
	}
	b.in.Close()
	b.expectEnd()
}

// TestAPIBatchIdle: a stream on which nothing arrives ends, with a last line that says
// why.
func TestAPIBatchIdle(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{}, func(a *API) { a.idle = 50 * time.Millisecond })
	b := s.openBatch()
	b.send(`{"users":["a"],"data":1}` + "\n" + `{"half":`)
	b.expect(`{"receivers":0}`)
	b.expect(`{"error":{"code":"timeout"`)
	b.expectEnd()
}

// TestAPIBatchUnread: a client that sends and never reads answers is disconnected in the
// end.
func TestAPIBatchUnread(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{}, func(a *API) { a.idle = 200 * time.Millisecond })
	c := s.raw()
	io.WriteString(c, "POST /v1/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n")
	lines := []byte(strings.Repeat("!\n", 8<<10)) // each answered with 100 bytes
	sent := 0
	for {
		n, err := c.Write(lines)
		sent += n
		if err == nil {
			continue
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("still open, %d bytes sent", sent)
		}
		return
	}
}

// TestAPIBatchShutdown: a server that shuts down ends its batches with a last line.
func TestAPIBatchShutdown(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{}, nil)
	b := s.openBatch()
	b.send(`{"users":["a"],"data":1}` + "\n")
	b.expect(`{"receivers":0}`)
	done := make(chan struct{})
	go func() { s.api.Shutdown(); close(done) }()
	b.expect(`"shutting_down"`)
	b.expectEnd()
	<-done
}
