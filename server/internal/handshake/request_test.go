package handshake

import (
	"bufio"
	"bytes"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// crlfs writes requests readably: lines end with LF here and with CRLF there.
func crlfs(s string) []byte { return []byte(strings.ReplaceAll(s, "\n", "\r\n")) }

func TestRequestParse(t *testing.T) {
	tests := []struct {
		name    string
		request string // the end is appended
		status  int    // 0: accepted
		path    string
		query   string
		host    string
	}{
		{name: "origin form", request: "GET /ws?user=a HTTP/1.1\nHost: h\n", path: "/ws", query: "user=a", host: "h"},
		{name: "no header at all", request: "GET / HTTP/1.1\n", path: "/"},
		{name: "HTTP/1.0", request: "GET / HTTP/1.0\n", path: "/"},
		{name: "HTTP/1.2", request: "GET / HTTP/1.2\n", path: "/"},
		{name: "question mark in the query", request: "GET /a?b?c HTTP/1.1\n", path: "/a", query: "b?c"},
		{name: "encoded path stays so", request: "GET /%77s HTTP/1.1\n", path: "/%77s"},
		{name: "unencoded UTF-8", request: "GET /ws?user=jürgen HTTP/1.1\n", path: "/ws", query: "user=jürgen"},
		{name: "two slashes", request: "GET //ws HTTP/1.1\n", path: "//ws"},

		// RFC 9112, 3.2.2: absolute-form, which a server MUST accept, and whose
		// host replaces the Host field.
		{name: "absolute", request: "GET http://example.com/ws?a HTTP/1.1\nHost: other\n", path: "/ws", query: "a", host: "example.com"},
		{name: "absolute, https, port", request: "GET HTTPS://example.com:8443/ws HTTP/1.1\nHost: h\n", path: "/ws", host: "example.com:8443"},
		{name: "absolute, no path", request: "GET http://example.com HTTP/1.1\nHost: h\n", path: "/", host: "example.com"},
		{name: "absolute, query without a path", request: "GET http://example.com?a=/b HTTP/1.1\nHost: h\n", path: "/", query: "a=/b", host: "example.com"},
		{name: "absolute, IPv6", request: "GET http://[::1]:80/ws HTTP/1.1\n", path: "/ws", host: "[::1]:80"},
		{name: "URI in a path", request: "GET /go?to=http://x/ws HTTP/1.1\nHost: h\n", path: "/go", query: "to=http://x/ws", host: "h"},
		{name: "absolute, ws scheme", request: "GET ws://example.com/ws HTTP/1.1\n", status: 400}, // RFC 6455, 4.1: "http/https URI"
		{name: "absolute, no host", request: "GET http:///ws HTTP/1.1\n", status: 400},
		{name: "absolute, user", request: "GET http://u@example.com/ws HTTP/1.1\n", status: 400},
		{name: "absolute, half a bracket", request: "GET http://[::1/ws HTTP/1.1\n", status: 400},
		{name: "absolute, port no number", request: "GET http://h:x/ws HTTP/1.1\n", status: 400},

		{name: "asterisk", request: "OPTIONS * HTTP/1.1\n", path: "*"},
		{name: "asterisk of GET", request: "GET * HTTP/1.1\n", status: 400},
		{name: "authority", request: "CONNECT example.com:80 HTTP/1.1\n", status: 400},
		{name: "relative", request: "GET ws HTTP/1.1\n", status: 400},
		{name: "empty target", request: "GET  HTTP/1.1\n", status: 400},
		{name: "fragment", request: "GET /ws#top HTTP/1.1\n", status: 400}, // RFC 6455, 3
		{name: "control character", request: "GET /w\x01s HTTP/1.1\n", status: 400},
		{name: "DEL", request: "GET /w\x7fs HTTP/1.1\n", status: 400},

		{name: "no request line", request: "", status: 400},
		// RFC 9112, 2.2: "SHOULD ignore at least one empty line (CRLF) received prior to the request-line".
		{name: "empty line before", request: "\nGET /ws HTTP/1.1\nHost: h\n", path: "/ws", host: "h"},
		{name: "two empty lines before", request: "\n\nGET / HTTP/1.1\n", status: 400},
		{name: "nothing but empty lines", request: "\n", status: 400},
		{name: "method only", request: "GET\n", status: 400},
		{name: "no version", request: "GET /\n", status: 400},
		{name: "no method", request: " / HTTP/1.1\n", status: 400},
		{name: "method no token", request: "G(T / HTTP/1.1\n", status: 400},
		{name: "two spaces", request: "GET  / HTTP/1.1\n", status: 400},
		{name: "tab", request: "GET\t/ HTTP/1.1\n", status: 400},
		{name: "space at the end", request: "GET / HTTP/1.1 \n", status: 400},
		{name: "four words", request: "GET / a HTTP/1.1\n", status: 400},
		{name: "version in small letters", request: "GET / http/1.1\n", status: 400},
		{name: "version too long", request: "GET / HTTP/1.10\n", status: 400},
		{name: "version too short", request: "GET / HTTP/1\n", status: 400},
		{name: "version no digits", request: "GET / HTTP/x.y\n", status: 400},
		{name: "HTTP/0.9", request: "GET / HTTP/0.9\n", status: 505},
		{name: "HTTP/2 preface", request: "PRI * HTTP/2.0\n", status: 505}, // RFC 9113, 3.4

		{name: "empty value", request: "GET / HTTP/1.1\nA:\n", path: "/"},
		{name: "no space after the colon", request: "GET / HTTP/1.1\nHost:h\n", path: "/", host: "h"},
		{name: "spaces around the value", request: "GET / HTTP/1.1\nHost: \t h \t\n", path: "/", host: "h"},
		{name: "bytes beyond ASCII in a value", request: "GET / HTTP/1.1\nA: \xff\xc3\n", path: "/"},
		{name: "tab in a value", request: "GET / HTTP/1.1\nA: b\tc\n", path: "/"},
		{name: "space before the colon", request: "GET / HTTP/1.1\nHost : h\n", status: 400}, // RFC 9112, 5.1
		{name: "folded", request: "GET / HTTP/1.1\nA: b\n c\n", status: 400},                 // RFC 9112, 5.2
		{name: "no colon", request: "GET / HTTP/1.1\nHost\n", status: 400},
		{name: "no name", request: "GET / HTTP/1.1\n: h\n", status: 400},
		{name: "name no token", request: "GET / HTTP/1.1\nA\x80: b\n", status: 400},
		{name: "NUL", request: "GET / HTTP/1.1\nA: b\x00\n", status: 400},
		{name: "bare CR", request: "GET / HTTP/1.1\nA: b\rc\n", status: 400},
		{name: "DEL in a value", request: "GET / HTTP/1.1\nA: b\x7f\n", status: 400},

		{name: "as many fields as allowed", request: "GET / HTTP/1.1\n" + strings.Repeat("A: b\n", MaxFields), path: "/"},
		{name: "one field more", request: "GET / HTTP/1.1\n" + strings.Repeat("A: b\n", MaxFields+1), status: 431},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var r Request
			err := r.Parse(crlfs(test.request + "\n"))
			if test.status != 0 {
				var rejection *Rejection
				if !errors.As(err, &rejection) || rejection.Status != test.status {
					t.Fatalf("%v, want %d", err, test.status)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if string(r.Path) != test.path || string(r.Query) != test.query || string(r.Authority()) != test.host {
				t.Errorf("path %q, query %q, host %q, want %q, %q, %q", r.Path, r.Query, r.Authority(), test.path, test.query, test.host)
			}
		})
	}
}

func TestRequestIsReusable(t *testing.T) {
	var r Request
	if err := r.Parse(crlfs("GET http://a/b?c HTTP/1.1\nX: y\n\n")); err != nil {
		t.Fatal(err)
	}
	if err := r.Parse(crlfs("GET /d HTTP/1.1\nHost: e\n\n")); err != nil {
		t.Fatal(err)
	}
	if string(r.Path) != "/d" || string(r.Query) != "" || string(r.Authority()) != "e" || header(&r, "X") != "" {
		t.Errorf("remembers its predecessor: %q, %q, %q, %q", r.Path, r.Query, r.Authority(), header(&r, "X"))
	}
}

// header is the first field of that name.
func header(r *Request, name string) string {
	v, _ := r.Field(name)
	return string(v)
}

// queryAll are the parameters of that name.
func queryAll(r *Request, name string) []string { return slices.Collect(r.Params(name)) }

func TestRequestFields(t *testing.T) {
	var r Request
	if err := r.Parse(crlfs("GET / HTTP/1.1\nX-One: a\nx-list: b ,, C\nX-LIST:\nX-List:d\n\n")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"x-one": "a", "X-List": "b ,, C", "X-Two": "", "": ""} {
		if got := header(&r, name); got != want {
			t.Errorf("Field(%q) is %q, want %q", name, got, want)
		}
	}
	var members []string
	for m := range r.List("X-List") {
		members = append(members, string(m))
	}
	if want := []string{"b", "C", "d"}; !slices.Equal(members, want) {
		t.Errorf("list is %q, want %q", members, want)
	}
	for token, want := range map[string]bool{"B": true, "c": true, "d": true, "b ": false, "": false, "a": false} {
		if got := r.HasToken("x-list", token); got != want {
			t.Errorf("HasToken(%q) is %t", token, got)
		}
	}
}

// Protocols fold case in ASCII only. Unicode has more letters that fold to those of
// "websocket" (U+017F, long s; U+212A, Kelvin).
func TestFoldingIsASCII(t *testing.T) {
	tests := []struct {
		a, b string
		want bool
	}{
		{"WebSocket", "websocket", true},
		{"", "", true},
		{"web\u017focket", "websocket", false},
		{"websoc\u212aet", "websocket", false},
		{"web{ocket", "web[ocket", false},
		{"web@ocket", "web`ocket", false},
		{"websocke", "websocket", false},
	}
	for _, test := range tests {
		if got := EqualFold([]byte(test.a), test.b); got != test.want {
			t.Errorf("EqualFold(%q, %q) is %t", test.a, test.b, got)
		}
	}
}

func TestIsHost(t *testing.T) {
	for host, want := range map[string]bool{
		"example.com": true, "example.com:": true, "example.com:8080": true, "127.0.0.1": true, "a_b": true,
		"[::1]": true, "[::1]:8080": true, "xn--mnchen-3ya.de": true, "m%C3%bcnchen.de": true,
		"": false, ":80": false, "a:b": false, "a b": false, "a/b": false, "u@h": false, "[::1": false, "::1]": false, "::1": false,
		"%": false, "%C": false, "%zz": false, "%+8": false, "0%00": false, "%41": false,
		"[]": false, "[a]": false, "[127.0.0.1]": false, "[::1]x": false, "[::1]:x": false, "münchen.de": false, "a\"b": false, "a<b": false,
	} {
		if got := IsHost([]byte(host)); got != want {
			t.Errorf("IsHost(%q) is %t", host, got)
		}
	}
}

func TestIsLocalHost(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LocalHost:8080": true, "localhost.": true, "a.localhost:80": true, "127.0.0.1": true, "127.0.0.1:8080": true,
		"[::1]": true, "[::1]:8080": true, "192.168.1.5:80": true, "[fe80::1]": true,
		"": false, ":80": false, "evil.com": false, "evil.com:8080": false, "localhost.evil.com": false, "evillocalhost": false,
		"127.0.0.1.evil.com": false, "127.0.0.1.nip.io:8080": false, "local": false, "1": false,
	} {
		if got := IsLocalHost([]byte(host)); got != want {
			t.Errorf("IsLocalHost(%q) is %t", host, got)
		}
	}
}

func TestCookie(t *testing.T) {
	var r Request
	r.Add("Cookie", `a=1; b="2"; c; d=x=y;`)
	r.Add("X", "z=1")
	r.Add("cookie", "e=;a=3")
	for name, want := range map[string]string{"a": "1", "b": `"2"`, "d": "x=y", "e": "", "A": "none", "c": "none", "z": "none", "x": "none"} {
		got, ok := r.Cookie(name)
		if !ok {
			got = []byte("none")
		}
		if string(got) != want {
			t.Errorf("cookie %q is %q, want %q", name, got, want)
		}
	}
}

func TestQuery(t *testing.T) {
	var r Request
	if err := r.Parse(crlfs("GET /ws?user=a%20b+c&topic=x&%74opic=%C3%BC&topic=%zz&&=n&empty&topic= HTTP/1.1\n\n")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{
		"user": {"a b c"}, "topic": {"x", "ü", ""}, "empty": {""}, "User": nil, "zz": nil,
	} {
		if got := queryAll(&r, name); !slices.Equal(got, want) {
			t.Errorf("Params(%q) is %q, want %q", name, got, want)
		}
	}
}

// FuzzQuery holds the walk of the query against net/url's.
func FuzzQuery(f *testing.F) {
	for _, q := range []string{"user=a", "user=%", "a=1&a=2", "a+b=c+d", "%61=%00", "&&=&", "a=b=c", "a;b=1"} {
		f.Add(q, "a")
	}
	f.Fuzz(func(t *testing.T, query, name string) {
		if strings.Contains(query, ";") || name == "" {
			return // net/url leaves out pairs with a semicolon, and those without a name
		}
		r := Request{Query: []byte(query)}
		values, _ := url.ParseQuery(query)
		if got := queryAll(&r, name); !slices.Equal(got, values[name]) {
			t.Errorf("%q in %q: %q, net/url has %q", name, query, got, values[name])
		}
	})
}

// FuzzRequest compares the parser with that of net/http: what net/http rejects, it
// rejects, and where both accept they read the same.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		"GET /ws?user=a HTTP/1.1\nHost: h\n\n", "GET http://h/ws HTTP/1.1\n\n", "OPTIONS * HTTP/1.1\n\n", "PRI * HTTP/2.0\n\nSM\n\n",
		"GET / HTTP/1.0\nA: b\n c\n\n", "GET / HTTP/1.1\nHost: a\nHost: b\n\n", "GET /%zz HTTP/1.1\n\n", "GET / HTTP/1.1\nContent-Length: x\n\n",
	} {
		f.Add(crlfs(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		end := bytes.Index(b, []byte("\r\n\r\n"))
		if end < 0 {
			return
		}
		head := b[:end+len([]byte("\r\n\r\n"))]
		var r Request
		if r.Parse(head) != nil {
			return
		}
		theirs, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
		if err != nil {
			if looksFurther(&r) {
				return
			}
			t.Fatalf("%q is accepted, net/http says: %v", head, err)
		}
		// net/http decodes the host of an absolute target; it is compared as it came here, as origins have it.
		host, _ := url.PathUnescape(string(r.Authority()))
		if theirs.Method != string(r.Method) || theirs.Host != host && theirs.Host != string(r.Authority()) || theirs.URL.RawQuery != string(r.Query) {
			t.Errorf("%q is read as %q %q %q, net/http has %q %q %q", head, r.Method, r.Authority(), r.Query, theirs.Method, theirs.Host, theirs.URL.RawQuery)
		}
	})
}

// looksFurther reports whether net/http's reader may have rejected the request for
// what is looked at later here: by checkUpgrade, or by looking for the path.
func looksFurther(r *Request) bool {
	_, hosts := r.Field("Host")
	_, lengths := r.Field("Content-Length")
	_, encodings := r.Field("Transfer-Encoding")
	_, err := url.PathUnescape(string(r.Path))
	return hosts > 1 || lengths > 0 || encodings > 0 || err != nil
}
