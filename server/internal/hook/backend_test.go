package hook

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"fanfare/server/internal/callout"
)

// TestCheck: every mistake names its field, and no error has a secret.
func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		change func(*Backend)
		want   string
	}{
		{func(*Backend) {}, ""},
		{func(b *Backend) { b.URL = "" }, "URL"},
		{func(b *Backend) { b.URL = "ftp://backend.example/" }, "URL"},
		{func(b *Backend) { b.URL = "http://backend.example/" }, "URL"},
		{func(b *Backend) { b.URL, b.InsecureHTTP = "http://backend.example/", true }, ""},
		{func(b *Backend) { b.URL = "https://user:password@backend.example/" }, "URL"},
		{func(b *Backend) { b.CA = "/nowhere" }, "URL"},
		{func(b *Backend) { b.Secrets = nil }, "Secrets"},
		{func(b *Backend) { b.Secrets = [][]byte{[]byte("short-secret")} }, "Secrets"},
		{func(b *Backend) { b.Timeout = time.Hour }, "Timeout"},
		{func(b *Backend) { b.Timeout = time.Millisecond }, "Timeout"},
		{func(b *Backend) { b.Conns = -1 }, "Places"},
		{func(b *Backend) { b.Conns = maxConns + 1 }, "Places"},
	} {
		b := Backend{Target: callout.Target{URL: "https://backend.example/"}, Secrets: [][]byte{bytes.Repeat([]byte("x"), minSecret)}}
		tt.change(&b)
		err := b.Check("test", "Places")
		var named interface{ Field() string }
		if tt.want == "" && err != nil || tt.want != "" && (!errors.As(err, &named) || named.Field() != tt.want || !strings.HasPrefix(err.Error(), "test: "+tt.want)) {
			t.Errorf("%+v: %v, want an error in %q", b, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "short-secret") {
			t.Error("the error has a secret")
		}
		if err == nil && (b.Timeout != 5*time.Second || b.Conns != 64 || b.Logger == nil || b.Client == nil) {
			t.Errorf("defaults: %+v", b)
		}
	}
	good := Backend{Target: callout.Target{URL: "https://backend.example/"}, Secrets: [][]byte{bytes.Repeat([]byte("x"), minSecret)}}
	if err := good.Check("test", "Places", errors.New("another")); err == nil || err.Error() != "test: another" {
		t.Errorf("got %v", err)
	}
}

// TestNewPost: a request is a signed JSON document.
func TestNewPost(t *testing.T) {
	b := Backend{Target: callout.Target{URL: "https://backend.example/x"}, Secrets: [][]byte{[]byte("one"), []byte("two")}}
	r, err := b.NewPost(context.Background(), "msg_1", time.Unix(7, 0), []byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	if r.Method != "POST" || r.URL.String() != b.URL || r.Header.Get("Webhook-Id") != "msg_1" || r.Header.Get("Webhook-Timestamp") != "7" || len(strings.Fields(r.Header.Get("Webhook-Signature"))) != 2 {
		t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
	}
}
