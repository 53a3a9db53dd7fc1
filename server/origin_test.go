package server

import "testing"

func TestOriginAllowed(t *testing.T) {
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
				if err := checkOriginPattern(p); err != nil {
					t.Error(err)
				}
			}
			if got := originAllowed([]byte(test.origin), []byte(test.host), test.allowed); got != test.want {
				t.Errorf("%t", got)
			}
		})
	}
}

func TestOriginPattern(t *testing.T) {
	for pattern, good := range map[string]bool{
		"*": true, "https://a": true, "http://a:8080": true, "https://*.a.example": true, "app://a": true,
		"": false, "a": false, "a.example": false, "//a": false, "https://": false, "https://a/": false, "https://a?": false, "https://a?b": false,
		"https://a#b": false, "https://u@a": false, "https://*": false, "https://a.*": false, "https://*.*.a": false, "*.a": false, "**": false, "null": false,
	} {
		if err := checkOriginPattern(pattern); (err == nil) != good {
			t.Errorf("%q: %v", pattern, err)
		}
	}
}
