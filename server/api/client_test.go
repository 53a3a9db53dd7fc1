package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"fanfare/server"
	"fanfare/server/inbox"
)

// patience bounds what a test waits for. It passes only if something is broken.
const patience = time.Minute

// apiServer is a running server with an API, and a client of that.
type apiServer struct {
	*server.Server
	api    *API
	t      testing.TB
	client *http.Client
	key    string
}

// newAPIServer starts a server with an API. prepare, if any, is called before it
// listens.
func newAPIServer(t testing.TB, cfg server.Config, apiCfg Config, prepare func(*API)) *apiServer {
	t.Helper()
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	if apiCfg.Listen == "" {
		apiCfg.Listen = "127.0.0.1:0"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if apiCfg.Logger == nil {
		apiCfg.Logger = cfg.Logger
	}
	srv, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		srv.Shutdown(ctx)
	})
	a, err := New(srv, apiCfg)
	if err != nil {
		t.Fatal(err)
	}
	if prepare != nil {
		prepare(a)
	}
	t.Cleanup(a.Shutdown)
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	return &apiServer{Server: srv, api: a, t: t, client: &http.Client{Transport: transport, Timeout: patience}}
}

// answer is what the API said.
type answer struct {
	status int
	header http.Header
	body   string
	last   bool // the server closes the connection after it
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, strings.TrimSpace(a.body)) }

// errorCode is the word for programs in a JSON error, empty if there is none.
func (a answer) errorCode() string {
	var e struct {
		Error struct{ Code, Message string }
	}
	if json.Unmarshal([]byte(a.body), &e) != nil || e.Error.Message == "" {
		return ""
	}
	return e.Error.Code
}

// call sends a request. header is a list of names and values.
func (s *apiServer) call(method, path, body string, header ...string) answer {
	s.t.Helper()
	var in io.Reader = strings.NewReader(body)
	if body == "" {
		in = nil
	}
	req, err := http.NewRequest(method, "http://localhost", in)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.api.Addr().Network() == "tcp" {
		req.URL.Host = s.api.Addr().String()
	}
	req.URL.Opaque = path // as it is, percent signs and all
	if s.key != "" {
		req.Header.Set("Authorization", "Bearer "+s.key)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatalf("%s %.200s: %v", method, path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatalf("%s %.200s: %v", method, path, err)
	}
	return answer{resp.StatusCode, resp.Header, string(b), resp.Close}
}

// dialUnix makes the client use a Unix socket.
func (s *apiServer) dialUnix(path string) {
	s.client.Transport.(*http.Transport).DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
}

// raw opens a bare connection to the API.
func (s *apiServer) raw() net.Conn {
	s.t.Helper()
	c, err := net.Dial("tcp", s.api.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

// readAnswer reads one answer from a bare connection.
func readAnswer(t testing.TB, c net.Conn) answer {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b), resp.Close}
}

// wsClient is a WebSocket client.
type wsClient struct {
	t testing.TB
	net.Conn
	r io.Reader
}

func (c *wsClient) Read(p []byte) (int, error) { return c.r.Read(p) }

func (s *apiServer) connect(path string) *wsClient {
	s.t.Helper()
	conn, br, _, err := ws.Dial(context.Background(), "ws://"+s.Addr().String()+path)
	if err != nil {
		s.t.Fatalf("%s: %v", path, err)
	}
	s.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	c := &wsClient{s.t, conn, conn}
	if br != nil {
		c.r = br
	}
	return c
}

// expect reads one message.
func (c *wsClient) expect(op ws.OpCode, payload string) {
	c.t.Helper()
	got, gotOp, err := wsutil.ReadServerData(c)
	if err != nil {
		c.t.Fatalf("want %q: %v", payload, err)
	}
	if gotOp != op || !bytes.Equal(got, []byte(payload)) {
		c.t.Errorf("got %v %q, want %v %q", gotOp, got, op, payload)
	}
}

// expectClose reads a close frame.
func (c *wsClient) expectClose(code ws.StatusCode, reason string) {
	c.t.Helper()
	op, payload := c.control()
	gotCode, gotReason := ws.ParseCloseFrameData(payload)
	if op != ws.OpClose || gotCode != code || gotReason != reason {
		c.t.Errorf("got %v %d %q, want a close with %d %q", op, gotCode, gotReason, code, reason)
	}
}

// control reads a control frame.
func (c *wsClient) control() (ws.OpCode, []byte) {
	c.t.Helper()
	h, err := ws.ReadHeader(c)
	if err != nil {
		c.t.Fatal(err)
	}
	if h.Length > ws.MaxControlFramePayloadSize {
		c.t.Fatalf("a control frame of %d bytes", h.Length)
	}
	payload := make([]byte, h.Length)
	if _, err := io.ReadFull(c, payload); err != nil {
		c.t.Fatal(err)
	}
	return h.OpCode, payload
}

// push sends a message to a user without the API.
func (s *apiServer) push(user string, op server.Op, payload []byte) {
	s.t.Helper()
	if _, err := s.Push(context.Background(), user, server.NewMessage(op, payload)); err != nil {
		s.t.Fatal(err)
	}
}

// named is a dialect under another name.
type named struct {
	server.Dialect
	protocol string
}

func (n named) Protocol() string { return n.protocol }

// withInbox is a configuration with an embedded store.
func withInbox(t testing.TB, cfg inbox.Config) server.Config {
	t.Helper()
	cfg.Dir = t.TempDir()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	st, err := inbox.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(st.Close) // after the server's: it is registered before
	return server.Config{Store: st}
}

// pushStored stores a message without the API.
func (s *apiServer) pushStored(user, text string) server.Stored {
	s.t.Helper()
	st, err := s.PushStored(context.Background(), user, server.Entry{Op: server.Text, Payload: []byte(text)})
	if err != nil {
		s.t.Fatal(err)
	}
	return st
}

// receivers is the answer to a push.
func receivers(n int) string { return fmt.Sprintf("{\"receivers\":%d}\n", n) }

// handshake is a request for the public listener, changed: a line with " HTTP/" replaces
// the first one, "+Name: value" is added, "Name: value" replaces that field.
func handshake(changes ...string) string {
	first := "GET /ws HTTP/1.1"
	fields := []string{"Host: localhost", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"}
	for _, change := range changes {
		name, _, _ := strings.Cut(change, ":")
		switch {
		case change[0] == '+':
			fields = append(fields, change[1:])
		case strings.Contains(change, " HTTP/"):
			first = change
		default:
			fields = slices.DeleteFunc(fields, func(f string) bool { return strings.HasPrefix(f, name+":") })
			fields = append(fields, change)
		}
	}
	return first + "\r\n" + strings.Join(fields, "\r\n") + "\r\n\r\n"
}

// public opens a bare connection to the public listener.
func (s *apiServer) public() net.Conn {
	s.t.Helper()
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}
