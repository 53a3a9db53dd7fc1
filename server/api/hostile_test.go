package api

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"fanfare/server"
)

// Whole servers against hostile callers of the API.

// ask sends a request as it is and reads one answer.
func (s *apiServer) ask(request string) answer {
	s.t.Helper()
	c := s.raw()
	if _, err := io.WriteString(c, request); err != nil {
		s.t.Fatal(err)
	}
	return readAnswer(s.t, c)
}

// No spelling of a path reaches another route or another user than the one that it
// spells once decoded, and no name comes back in the answer to a bad one.
func TestAPIPathTricks(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{}, nil)
	admin := s.connect("/ws?user=admin")
	const reached, missed = `{"receivers":1}`, `{"receivers":0}`
	tests := []struct {
		name, target string
		status       int
		want         string
	}{
		{"the name itself", "/v1/users/admin/push", 200, reached},
		{"a letter encoded", "/v1/users/%61dmin/push", 200, reached},
		{"a query that looks like a path", "/v1/users/admin/push?durable=false&/../x", 400, "unknown parameter"},
		{"absolute target", "http://localhost/v1/users/admin/push", 200, reached},

		{"encoded twice", "/v1/users/%2561dmin/push", 200, missed},
		{"slash in the name", "/v1/users/%2fadmin/push", 200, missed},
		{"way up in the name", "/v1/users/x%2f..%2fadmin/push", 200, missed},
		{"backslash in the name", "/v1/users/x\\..\\admin/push", 200, missed},
		{"semicolon in the name", "/v1/users/admin;x=1/push", 200, missed},
		{"space after the name", "/v1/users/admin%20/push", 200, missed},
		{"other casing", "/v1/users/Admin/push", 200, missed},
		{"fullwidth letter", "/v1/users/%ef%bd%81dmin/push", 200, missed},
		{"zero-width space", "/v1/users/admin%e2%80%8b/push", 200, missed},

		{"way up", "/v1/users/x/../admin/push", 404, "not_found"},
		{"way up, encoded in part", "/v1/users/x/%2e%2e/admin/push", 404, "not_found"},
		{"dot", "/v1/./users/admin/push", 404, "not_found"},
		{"two slashes", "/v1//users/admin/push", 404, "not_found"},
		{"slash in front", "//v1/users/admin/push", 404, "not_found"},
		{"slash at the end", "/v1/users/admin/push/", 404, "not_found"},
		{"encoded slash in a route", "/v1%2fusers/admin/push", 404, "not_found"},
		{"encoded letter in a route", "/v1/users/admin/pus%68", 404, "not_found"},
		{"upper case in a route", "/V1/users/admin/push", 404, "not_found"},
		{"path of a file", "/v1/users/..%2f..%2f..%2fetc%2fpasswd", 405, "method_not_allowed"},

		{"NUL", "/v1/users/admin%00/push", 400, "bad_name"},
		{"NUL in front", "/v1/users/%00admin/push", 400, "bad_name"},
		{"NUL as it is", "/v1/users/admin\x00/push", 400, ""},
		{"line break", "/v1/users/admin%0d%0aX-Evil:%201/push", 400, "bad_name"},
		{"escape sequence", "/v1/users/%1b%5b2J/push", 400, "bad_name"},
		{"DEL", "/v1/users/admin%7f/push", 400, "bad_name"},
		{"not UTF-8", "/v1/users/%ff%fe/push", 400, "bad_name"},
		{"not UTF-8, as it is", "/v1/users/\xff\xfe/push", 400, "bad_name"},
		{"overlong dots", "/v1/users/%c0%ae%c0%ae/push", 400, "bad_name"},
		{"surrogate", "/v1/users/%ed%a0%80/push", 400, "bad_name"},
		{"half an escape", "/v1/users/admin%6/push", 400, "bad_name"},
		{"escape of another kind", "/v1/users/%u0061dmin/push", 400, "bad_name"},
		{"percent alone", "/v1/users/%/push", 400, "bad_name"},
		{"empty", "/v1/users//push", 400, "bad_name"},
		{"10 KiB", "/v1/users/" + strings.Repeat("n", 10<<10) + "/push", 400, "bad_name"},
		{"10 KiB of slashes, encoded", "/v1/users/" + strings.Repeat("%2f", 10<<10/3) + "/push", 400, "bad_name"},
		{"10 KiB of slashes", "/v1/users/" + strings.Repeat("/", 10<<10) + "/push", 404, "not_found"},
		{"topic with a line break", "/v1/topics/a%0ab/push", 400, "bad_name"},
		{"topic of 10 KiB", "/v1/topics/" + strings.Repeat("%41", 10<<10/3) + "/push", 400, "bad_name"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := s.ask("POST " + tt.target + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx")
			if got.status != tt.status || !strings.Contains(got.body, tt.want) {
				t.Errorf("got %.200v, want %d %s", got, tt.status, tt.want)
			}
			if got.header.Get("X-Evil") != "" || len(got.body) > 300 || strings.ContainsAny(got.body, "\x00\r\x1b") || !utf8.ValidString(got.body) {
				t.Errorf("got %q %v", got.body, got.header)
			}
			if tt.want == reached {
				admin.expect(server.Text, "x")
			}
		})
	}
	s.push("admin", server.Text, []byte("nothing else came"))
	admin.expect(server.Text, "nothing else came")
}

// Every route except those for health needs the key, for every method, and checks it
// before the name and the rest of a body.
func TestAPIEveryRouteNeedsTheKey(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{Keys: []string{"the-only-key-of-this-server"}, Pprof: true}, nil)
	for _, r := range routes {
		path := "/" + strings.Join(r.path, "/")
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "BREW"} {
			for _, name := range []string{"a", "%00"} {
				target := strings.NewReplacer("{user}", name, "{topic}", name, "{profile}", name).Replace(path)
				for _, field := range []string{"", "Authorization: Bearer wrong\r\n", "Authorization: Bearer \r\nX-Authorization: Bearer the-only-key-of-this-server\r\n"} {
					c := s.raw()
					fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: 1000000\r\n\r\nx", method, target, field)
					resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
					if err != nil {
						t.Fatal(method, target, err)
					}
					resp.Body.Close()
					c.Close()
					if (resp.StatusCode == 401) == r.open {
						t.Errorf("%s %s with %q: %d", method, target, field, resp.StatusCode)
					}
				}
			}
		}
	}
}

// A caller that sends its head or its body slowly, or not at all, is answered when
// the time for one request is over, however many bytes it still dribbles, and does not
// delay others.
func TestAPISlowRequests(t *testing.T) {
	const head = "POST /v1/broadcast HTTP/1.1\r\nHost: localhost\r\n"
	tests := []struct{ name, begin, drop string }{
		{"head", "POST /v1/broadcast HTTP/1.1\r\nHost: local", ""},
		{"head, byte by byte", head + "X: ", "x"},
		{"body", head + "Content-Length: 1000\r\n\r\nhalf", ""},
		{"body, byte by byte", head + "Content-Length: 1000000\r\n\r\n", "x"},
		{"body in chunks, byte by byte", head + "Transfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"},
		{"document", "POST /v1/push HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{", " "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newAPIServer(t, server.Config{}, Config{}, func(a *API) { a.http.ReadTimeout = 300 * time.Millisecond })
			alice := s.connect("/ws?user=alice")
			c := s.raw()
			io.WriteString(c, tt.begin)
			stop, stopped := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(stopped)
				drops := time.NewTicker(5 * time.Millisecond)
				defer drops.Stop()
				for tt.drop != "" {
					select {
					case <-stop:
						return
					case <-drops.C:
						if _, err := io.WriteString(c, tt.drop); err != nil {
							return
						}
					}
				}
			}()
			if got := s.call("POST", "/v1/users/alice/push", "meanwhile"); got.status != 200 {
				t.Errorf("another caller: %v", got)
			}
			alice.expect(server.Text, "meanwhile")
			if got := readAnswer(t, c); got.status != 408 || got.errorCode() != "timeout" {
				t.Errorf("got %v", got)
			}
			close(stop)
			<-stopped
			s.push("alice", server.Text, []byte("next"))
			alice.expect(server.Text, "next") // nothing of the half message
		})
	}
}

// Bytes that a client sends never become a line of the log or a header field of an answer.
// slog quotes values, so this covers what bypasses it, and answers assembled here.
func TestLogInjection(t *testing.T) {
	var log syncBuffer
	const forged = "X-Evil: 1"
	broken := server.Endpoint{Path: "/broken", Identifier: func(_ context.Context, r *server.Request) (server.Identity, error) {
		return server.Identity{}, fmt.Errorf("no such user: %s", r.Query("user"))
	}}
	panics := server.Endpoint{Path: "/panics", Identifier: func(_ context.Context, r *server.Request) (server.Identity, error) { panic(r.Query("user")) }}
	s := newAPIServer(t, server.Config{
		Logger:    slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Endpoints: []server.Endpoint{server.PushEndpoint("/ws"), broken, panics},
	}, Config{}, nil)
	const crlf = "%0d%0aX-Evil:%201%0d%0a%0d%0aHTTP/1.1%20200"
	api := []string{
		"GET /v1/users/a" + crlf + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"GET /" + crlf + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"DELETE /v1/users/a?reason=" + crlf + "&code=" + crlf + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"GET /v1/users/a\rX-Evil: 1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"GET /v1/stats HTTP/1.1\r\nHost: localhost\rX-Evil: 1\r\n\r\n",
		"GET /v1/stats HTTP/1.1\r\nHost: evil\x1b[2J\r\n\r\n",
		"GET /v1/stats HTTP/1.1\r\nHost: localhost\r\nOrigin: a\x1b[2J\r\n\r\n",
		"BREW\x1b[2J /v1/stats HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"BREW\rX-Evil:1 /v1/stats HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"POST /v1/push HTTP/1.1\r\nHost: localhost\r\nContent-Length: 36\r\n\r\n" + `{"\r\nX-Evil: 1":1,"users":["\r\n"]}  `,
	}
	public := []string{
		handshake("GET /" + crlf + " HTTP/1.1"),
		handshake("GET /ws?user=" + crlf + " HTTP/1.1"),
		handshake("GET /ws?user=a&topic=" + crlf + " HTTP/1.1"),
		handshake("GET /broken?user=" + crlf + " HTTP/1.1"),
		handshake("GET /panics?user=" + crlf + " HTTP/1.1"),
		handshake("GET /ws?user=a HTTP/1.1", "Host: a\rX-Evil: 1"),
		handshake("GET /ws?user=a HTTP/1.1", "+Origin: http://a\rX-Evil: 1"),
		handshake("GET /ws?user=a HTTP/1.1", "+Sec-WebSocket-Protocol: a\rX-Evil: 1"),
		handshake("GET /ws?user=a HTTP/1.1", "Sec-WebSocket-Key: a\nX-Evil: 1"),
		"GET /" + crlf + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"GET /ws\x1b[2J HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: local\x1b[2J\r\nContent-Length: x\r\n\r\n",
	}
	check := func(in string, c io.ReadWriter) {
		t.Helper()
		io.WriteString(c, in)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Errorf("%q: %v", in, err)
			return
		}
		body, _ := io.ReadAll(resp.Body)
		if resp.Header.Get("X-Evil") != "" || strings.ContainsAny(string(body), "\r\x1b") || resp.StatusCode < 400 {
			t.Errorf("%q is answered %d %v %q", in, resp.StatusCode, resp.Header, body)
		}
	}
	for _, in := range api {
		check(in, s.raw())
	}
	for _, in := range public {
		check(in, s.public())
	}
	for _, line := range log.lines() {
		if !strings.HasPrefix(line, "time=") || strings.ContainsAny(line, "\x00\r\x1b") {
			t.Errorf("log line: %q", line)
		}
	}
	if !strings.Contains(log.String(), forged) {
		t.Error("nothing hostile came as far as the log: the test tests nothing")
	}
}
