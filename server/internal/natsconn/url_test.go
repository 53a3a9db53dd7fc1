package natsconn

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseURLs(t *testing.T) {
	for _, test := range []struct{ list, want string }{
		{"nats://a:4222", "nats://a:4222"},
		{"localhost:4222", "nats://localhost:4222"},
		{"localhost", "nats://localhost"},
		{"10.0.0.1:4222", "nats://10.0.0.1:4222"},
		{"[::1]:4222", "nats://[::1]:4222"},
		{"user:secret@host", "nats://user:secret@host"},
		{"NATS://a, tls://b:1/", "nats://a tls://b:1"},
		{"ws://a,wss://b", "ws://a wss://b"},
		{"nats://user:p%40ss@host", "nats://user:p%40ss@host"},
	} {
		urls, err := parseURLs(test.list)
		var got []string
		for _, u := range urls {
			got = append(got, u.String())
		}
		if err != nil || strings.Join(got, " ") != test.want {
			t.Errorf("%s: got %q, %v, want %q", test.list, got, err, test.want)
		}
	}
}

// TestMalformedURL: each is rejected with words, and no part of its password.
func TestMalformedURL(t *testing.T) {
	for _, test := range []struct{ list, want string }{
		{"", "is empty"},
		{" ", "is empty"},
		{"nats://a,", "comma too many"},
		{"http://a", "unknown scheme"},
		{"nats://", "no host"},
		{"nats://:4222", "no host"},
		{"nats://a:0", "invalid port"},
		{"nats://a:70000", "invalid port"},
		{"nats://a,ws://b", "mixes the schemes nats and ws"},
		{"nats://user:SE%ZZCRET@host:4222", `"nats://user:xxxxx@host:4222" is malformed`},
		{"nats://user:SEC RET@host", "nats://user:xxxxx@host"},
		{"nats://user:SE/CRET@host", "nats://user:xxxxx@host"},
		{"nats://user:12/SECRET@host", "nats://user:xxxxx@host"},
		{"nats://user:SE?CRET@host", "nats://user:xxxxx@host"},
		{"nats://user:SE#CRET@host", "nats://user:xxxxx@host"},
		{"nats://user:SE,CRET@host", "comma in a password"},
		{"nats://user:777,SECRET@host", "comma in a password"},
		{"nats://user:SECRET", "malformed"},
		{"user:SECRET", "malformed"},
		{"nats://SEC%RET@host", "nats://xxxxx@host"},
		{"nats://user:SECRET@ho st", "malformed"},
		{"nats://user:SECRET@host:port", "malformed"},
		{"http://user:SECRET@host", "http://user:xxxxx@host"},
		{"SECRET:x@y://host", `"xxxxx://host" has an unknown scheme`},
		{"nats://user:SECRET@a?tls=SECRET", "has more than a host"},
	} {
		_, err := parseURLs(test.list)
		said := fmt.Sprint(err)
		if err == nil || !strings.Contains(said, test.want) {
			t.Errorf("%s: got %v, want %q", test.list, err, test.want)
		}
		said += Redact(test.list)
		for _, secret := range []string{"SE", "CRET", "RET", "777", ":12"} {
			if strings.Contains(said, secret) {
				t.Errorf("%s: %q leaks %q", test.list, said, secret)
			}
		}
	}
}

func TestRedact(t *testing.T) {
	for list, want := range map[string]string{
		"nats://host:4222":                "nats://host:4222",
		"localhost:4222":                  "localhost:4222",
		"nats://user:secret@host:4222":    "nats://user:xxxxx@host:4222",
		"nats://token@host":               "nats://xxxxx@host",
		"user:secret@host, tls://b:4222/": "user:xxxxx@host,tls://b:4222/",
		"nats://user:s@cr@t@[::1]:4222":   "nats://user:xxxxx@[::1]:4222",
		"nats://":                         "nats://",
		"nats://secret@":                  "nats://xxxxx@xxxxx",
		"":                                "xxxxx",
	} {
		if got := Redact(list); got != want {
			t.Errorf("%s: got %s, want %s", list, got, want)
		}
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("user", "secret", "host")
	f.Add("us:er", "s/e?c#r@t", "[::1]:4222")
	f.Fuzz(func(t *testing.T, user, password, host string) {
		// Marked, so that the secret cannot be a part of what may be printed.
		const mark = "\x01SECRET\x01"
		list := "nats://" + user + ":" + mark + password + mark + "@" + host
		said := Redact(list)
		if _, err := parseURLs(list); err != nil {
			said += err.Error()
		}
		if strings.Contains(said, "SECRET") && !strings.Contains(user+host, "SECRET") {
			t.Errorf("%q: %q", list, said)
		}
	})
}
