package fallback

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
)

// A request of which a part was read is answered, the connection is closed after it, and
// done is called once.
func TestServe(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := New(ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s", r.URL.Path, body)
	}), 0, slog.New(slog.DiscardHandler))
	ended := make(chan struct{})
	go func() {
		s.Run()
		close(ended)
	}()
	client, server := net.Pipe()
	if !s.Acquire() {
		t.Fatal("no request is under way, and none may be")
	}
	done := make(chan struct{})
	s.Serve(server, []byte("POST /path HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbo"), nil, func() { close(done) })
	go io.WriteString(client, "dy")
	answer, err := io.ReadAll(client)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") || !strings.HasSuffix(string(answer), "/path body") {
		t.Errorf("answered %q, %v", answer, err)
	}
	<-done
	if n := s.Open(); n != 0 {
		t.Errorf("%d requests are under way, want 0", n)
	}
	cancel()
	<-ended
}

// A connection that is given to a Server that has ended is closed.
func TestServeAfterTheEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := New(ctx, http.NotFoundHandler(), 0, slog.New(slog.DiscardHandler))
	cancel()
	s.Run()
	client, server := net.Pipe()
	s.Acquire()
	done := make(chan struct{})
	s.Serve(server, nil, nil, func() { close(done) })
	<-done
	if _, err := client.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("read: %v, want io.EOF", err)
	}
}

func TestAcquireIsBounded(t *testing.T) {
	s := New(t.Context(), http.NotFoundHandler(), 0, slog.New(slog.DiscardHandler))
	for i := range MaxRequests {
		if !s.Acquire() {
			t.Fatalf("request %d is rejected", i+1)
		}
	}
	if s.Acquire() {
		t.Error("one request more than MaxRequests is accepted")
	}
	s.Release()
	if !s.Acquire() {
		t.Error("a released place is not free")
	}
}
