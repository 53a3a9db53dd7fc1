package main

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

func TestPush(t *testing.T) {
	withoutRace(t)
	p := startServer(t, nil)
	alice := p.connect("/ws?user=alice&topic=news")
	odd := p.connect("/ws?user=" + "..%2F%3F%20%25" + "&topic=" + "a%2Fb")
	for _, test := range []struct {
		name  string
		args  []string
		stdin string
		to    net.Conn // nil: none
		want  string
		op    ws.OpCode
		count string
	}{
		{"argument", []string{"push", "alice", "hello"}, "", alice, "hello", ws.OpText, "1"},
		{"empty", []string{"push", "alice", ""}, "", alice, "", ws.OpText, "1"},
		{"standard input", []string{"push", "alice"}, "line\nline\n", alice, "line\nline\n", ws.OpText, "1"},
		{"dash", []string{"push", "alice", "-"}, "from stdin", alice, "from stdin", ws.OpText, "1"},
		{"not UTF-8", []string{"push", "alice"}, "\xff\x00", alice, "\xff\x00", ws.OpBinary, "1"},
		{"binary", []string{"push", "--binary", "alice", "text"}, "", alice, "text", ws.OpBinary, "1"},
		{"topic", []string{"push", "--topic", "news", "n"}, "", alice, "n", ws.OpText, "1"},
		{"odd user", []string{"push", "../? %", "o"}, "", odd, "o", ws.OpText, "1"},
		{"odd topic", []string{"push", "--topic", "a/b", "t"}, "", odd, "t", ws.OpText, "1"},
		{"no receiver", []string{"push", "bob", "hello"}, "", nil, "", 0, "0"},
		{"broadcast", []string{"broadcast", "all"}, "", alice, "all", ws.OpText, "2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := runProgram(t, test.stdin, []string{"FANFARE_API=" + p.api}, test.args...)
			if r.code != exitOK || r.stdout != test.count+"\n" || r.stderr != "" {
				t.Errorf("%+v, want %s receivers", r, test.count)
			}
			if test.to != nil {
				if msg, op := receive(t, test.to); msg != test.want || op != test.op {
					t.Errorf("received %q, %v, want %q, %v", msg, op, test.want, test.op)
				}
			}
		})
	}
}

func TestUsers(t *testing.T) {
	withoutRace(t)
	p := startServer(t, nil)
	p.connect("/ws?user=alice&topic=news")
	p.connect("/ws?user=alice")
	for _, test := range []struct {
		names string
		code  int
		count []int // of sessions
	}{
		{"alice", exitOK, []int{2}},
		{"bob", exitOffline, []int{0}},
		{"alice bob alice", exitOffline, []int{2, 0, 2}},
	} {
		t.Run(test.names, func(t *testing.T) {
			names := strings.Fields(test.names)
			r := runProgram(t, "", nil, append([]string{"users", "--api=http://" + p.api + "/"}, names...)...)
			lines := strings.Split(strings.TrimSuffix(r.stdout, "\n"), "\n")
			if r.code != test.code || len(lines) != len(names) || r.stderr != "" {
				t.Fatalf("%+v", r)
			}
			for i, line := range lines {
				var u struct {
					User     string
					Sessions []any
				}
				if err := json.Unmarshal([]byte(line), &u); err != nil || u.User != names[i] || len(u.Sessions) != test.count[i] {
					t.Errorf("line %d is %s, %v", i, line, err)
				}
			}
		})
	}
}

func TestClientFailures(t *testing.T) {
	withoutRace(t)
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startServer(t, nil, "--api-key-file="+key, "--max-payload=1KiB")
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/users/lost/push" {
			http.Redirect(w, r, "/", http.StatusFound)
		}
	}))
	defer other.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for _, test := range []struct {
		name string
		env  string
		args []string
		code int
		want string // a part of stderr
	}{
		{"no key", "", []string{"push", "alice", "x"}, exitFailure, "the API answers 401: "},
		{"wrong key", "FANFARE_API_KEY=abcdefghijklmnop", []string{"users", "alice"}, exitFailure, "the API answers 401: "},
		{"key in the environment", "FANFARE_API_KEY=0123456789abcdef", []string{"push", "alice", "x"}, exitOK, ""},
		{"key in a file", "FANFARE_API_KEY=ignored", []string{"push", "--api-key-file", key, "alice", "x"}, exitOK, ""},
		{"no key file", "", []string{"push", "--api-key-file", key + "s", "alice", "x"}, exitUsage, "no such file"},
		{"bad name", "FANFARE_API_KEY=0123456789abcdef", []string{"push", "", "x"}, exitFailure, "the API answers 400: "},
		{"too long", "FANFARE_API_KEY=0123456789abcdef", []string{"broadcast", strings.Repeat("x", 1025)}, exitFailure, "the API answers 413: "},
		{"no listener", "", []string{"push", "--api", closed.Addr().String(), "alice", "x"}, exitFailure, "connection refused"},
		{"not fanfare", "", []string{"push", "--api", other.URL, "alice", "x"}, exitFailure, "is not fanfare"},
		{"not fanfare's users", "", []string{"users", "--api", other.URL, "alice"}, exitFailure, "is not fanfare"},
		{"redirect", "", []string{"push", "--api", other.URL, "lost", "x"}, exitFailure, "the API answers 302 Found"},
	} {
		t.Run(test.name, func(t *testing.T) {
			env := []string{"FANFARE_API=" + p.api}
			if test.env != "" {
				env = append(env, test.env)
			}
			r := runProgram(t, "", env, test.args...)
			if r.code != test.code || !strings.Contains(r.stderr, test.want) || strings.Count(r.stderr, "\n") > 1 {
				t.Errorf("%+v, want code %d and %q", r, test.code, test.want)
			}
			if strings.Contains(r.stderr, "0123456789abcdef") || strings.Contains(r.stderr, "abcdefghijklmnop") {
				t.Error("stderr shows a key")
			}
		})
	}
}
