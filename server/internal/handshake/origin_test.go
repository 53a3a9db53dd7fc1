package handshake

import (
	"errors"
	"strings"
	"testing"
)

func TestOrigins(t *testing.T) {
	tests := []struct {
		name, origin, host string
		allowed            []string
		want               bool
	}{
		{name: "same host", origin: "http://a.example", host: "a.example", want: true},
		{name: "same host in another casing", origin: "HTTP://A.Example", host: "a.eXAMPLE", want: true},
		{name: "equal in Unicode only", origin: "http://te\u017ft", host: "test"},
		{name: "port left out by the page", origin: "http://h", host: "h:80", want: true},
		{name: "port left out by the client", origin: "https://h:443", host: "h", want: true},
		{name: "port of the other scheme", origin: "https://h:80", host: "h"},
		{name: "other port", origin: "http://h:8080", host: "h:8081"},
		{name: "same port", origin: "http://h:8080", host: "h:8080", want: true},
		{name: "IPv6", origin: "http://[::1]:8080", host: "[::1]:8080", want: true},
		{name: "sub-domain", origin: "http://x.h", host: "h"},
		{name: "host as a prefix", origin: "http://h.evil", host: "h"},
		{name: "host as a suffix", origin: "http://evilh", host: "h"},
		{name: "user that looks like the host", origin: "http://h@evil", host: "h"},
		{name: "null", origin: "null", host: "h"},
		{name: "empty", origin: "", host: ""},
		{name: "file", origin: "file://", host: ""},
		{name: "extension of a browser", origin: "chrome-extension://abc", host: "abc"},
		{name: "no scheme", origin: "h", host: "h"},

		{name: "named", origin: "https://app.example", host: "h", allowed: []string{"https://app.example"}, want: true},
		{name: "named, other scheme", origin: "http://app.example", host: "h", allowed: []string{"https://app.example"}},
		{name: "named, port", origin: "https://app.example:444", host: "h", allowed: []string{"https://app.example"}},
		{name: "the second that is named", origin: "https://b", host: "h", allowed: []string{"https://a", "https://b"}, want: true},
		{name: "extension that is named", origin: "chrome-extension://abc", host: "h", allowed: []string{"chrome-extension://abc"}, want: true},
		{name: "all", origin: "https://evil", host: "h", allowed: []string{"*"}, want: true},
		{name: "null that is named", origin: "null", host: "h", allowed: []string{"https://a", "null"}, want: true},
		{name: "null is not a part of names", origin: "null", host: "h", allowed: []string{"https://*.null"}},
		{name: "file that is named", origin: "file://", host: "h", allowed: []string{"file://"}, want: true},
		{name: "application that is named", origin: "capacitor://localhost", host: "h", allowed: []string{"capacitor://localhost"}, want: true},
		{name: "application of another scheme", origin: "ionic://localhost", host: "h", allowed: []string{"capacitor://localhost"}},
		{name: "default port named by the operator", origin: "https://a", host: "h", allowed: []string{"https://a:443"}, want: true},
		{name: "default port named by the page", origin: "http://a:80", host: "h", allowed: []string{"http://a"}, want: true},
		{name: "default port of the other scheme", origin: "https://a:80", host: "h", allowed: []string{"https://a"}},
		{name: "default port after a wildcard", origin: "https://b.a", host: "h", allowed: []string{"https://*.a:443"}, want: true},
		{name: "all, null", origin: "null", host: "h", allowed: []string{"*"}, want: true},

		{name: "sub-domain of those named", origin: "https://a.example.com", host: "h", allowed: []string{"https://*.example.com"}, want: true},
		{name: "of a sub-domain", origin: "https://a.b-c.example.com", host: "h", allowed: []string{"https://*.example.com"}, want: true},
		{name: "in another casing", origin: "https://A.Example.com", host: "h", allowed: []string{"https://*.example.com"}, want: true},
		{name: "the domain itself is not", origin: "https://example.com", host: "h", allowed: []string{"https://*.example.com"}},
		{name: "nor without a label", origin: "https://.example.com", host: "h", allowed: []string{"https://*.example.com"}},
		{name: "nor what only ends so", origin: "https://evilexample.com", host: "h", allowed: []string{"https://*.example.com"}},
		{name: "path for labels", origin: "https://evil/.example.com", host: "h", allowed: []string{"https://*.example.com"}},
		{name: "query for labels", origin: "https://evil?.example.com", host: "h", allowed: []string{"https://*.example.com"}},
		{name: "fragment for labels", origin: "https://evil#.example.com", host: "h", allowed: []string{"https://*.example.com"}},
		{name: "user for labels", origin: "https://evil@a.example.com", host: "h", allowed: []string{"https://*.example.com"}},
		{name: "backslash for labels", origin: `https://evil\.example.com`, host: "h", allowed: []string{"https://*.example.com"}},
		{name: "port for labels", origin: "https://evil:1.example.com", host: "h", allowed: []string{"https://*.example.com"}},
		{name: "sub-domain with its port", origin: "https://a.example.com:444", host: "h", allowed: []string{"https://*.example.com:444"}, want: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, p := range test.allowed {
				if err := ValidateOrigin(p); err != nil {
					t.Error(err)
				}
			}
			var r Request
			r.Add("Origin", test.origin)
			err := Origins(test.allowed).Check(&r, nil, []byte(test.host))
			if (err == nil) != test.want {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestValidateOrigin(t *testing.T) {
	for pattern, good := range map[string]bool{
		"*": true, "https://a": true, "http://a:8080": true, "https://*.a.example": true, "app://a": true,
		"": false, "a": false, "a.example": false, "//a": false, "https://": false, "https://a/": false, "https://a?": false, "https://a?b": false,
		"https://a#b": false, "https://u@a": false, "https://*": false, "https://a.*": false, "https://*.*.a": false, "*.a": false, "**": false,
		"null": true, "NULL": false, "file://": true, "capacitor://localhost": true, "tauri://localhost": true, "app://-": true, "moz-extension://0a1b": true, "http://[::1]:80": true,
		"http://": false, "://a": false, "1a://b": false, "a b://c": false, "https://a:": false, "https://a:x": false, "https://*.": false, "file://*.": false, "file:///": false, "https://a b": false,
	} {
		if err := ValidateOrigin(pattern); (err == nil) != good {
			t.Errorf("%q: %v", pattern, err)
		}
	}
}

// A page may be of any of the hosts, and what was compared is in the answer.
func TestOriginsHosts(t *testing.T) {
	var r Request
	r.Add("Origin", "https://app.example:8443")
	for _, tt := range []struct {
		hosts []string
		want  []string // in the text; nil: allowed
		name  func(field string) string
	}{
		{[]string{"inner", "app.example:8443"}, nil, nil},
		{[]string{"inner"}, []string{`"https://app.example:8443"`, `host "inner"`, "the allowed origins (Config.AllowOrigins) do not"}, nil},
		{[]string{"inner"}, []string{"the allowed origins (my AllowOrigins) do not"}, func(f string) string { return "my " + f }},
		{[]string{"inner", "outer"}, []string{`host "inner" or "outer"`}, nil},
		{[]string{"app.example"}, []string{"only the port differs"}, nil},
	} {
		var hosts [][]byte
		for _, h := range tt.hosts {
			hosts = append(hosts, []byte(h))
		}
		err := Origins{"https://other"}.Check(&r, tt.name, hosts...)
		if tt.want == nil {
			if err != nil {
				t.Errorf("%q: %v", tt.hosts, err)
			}
			continue
		}
		var rejection *Rejection
		if !errors.As(err, &rejection) || rejection.Status != 403 {
			t.Fatalf("%q: %v", tt.hosts, err)
		}
		for _, want := range tt.want {
			if !strings.Contains(rejection.Text, want) {
				t.Errorf("%q: %q does not contain %q", tt.hosts, rejection.Text, want)
			}
		}
		if rejection.Why() != "origin not allowed" {
			t.Errorf("reason %q", rejection.Why())
		}
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"a":                      `"a"`,
		"a\nb\"\xff":             `"a\nb\"\xff"`,
		strings.Repeat("x", 128): `"` + strings.Repeat("x", 128) + `"`,
		strings.Repeat("x", 129): `"` + strings.Repeat("x", 128) + `"…`,
	} {
		if got := Quote([]byte(in)); got != want {
			t.Errorf("Quote(%q) is %s, want %s", in, got, want)
		}
	}
}
