package callout

import (
	"errors"
	"strings"
	"testing"
)

// TestIsLoopback: a name that only looks like this machine is another one.
func TestIsLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"127.0.0.1": true, "127.9.9.9": true, "::1": true, "::ffff:127.0.0.1": true, "localhost": true,
		"localhost.example.com": false, "127.0.0.1.example.com": false, "0.0.0.0": false, "10.0.0.1": false, "": false,
	} {
		if got := isLoopback(host); got != want {
			t.Errorf("%s: %t", host, got)
		}
	}
}

// TestPlain: the error for http can be told apart, so that callers can name their setting.
func TestPlain(t *testing.T) {
	if _, err := (Target{URL: "http://example.com"}).Client(1); !errors.Is(err, ErrPlain) {
		t.Errorf("got %v", err)
	}
}

func TestReadAll(t *testing.T) {
	for _, tt := range []struct {
		n  int
		ok bool
	}{{0, true}, {10, true}, {11, false}} {
		data, err := ReadAll(strings.NewReader(strings.Repeat("x", tt.n)), 10)
		if (err == nil) != tt.ok || tt.ok && len(data) != tt.n {
			t.Errorf("%d bytes of 10: %d, %v", tt.n, len(data), err)
		}
	}
}
