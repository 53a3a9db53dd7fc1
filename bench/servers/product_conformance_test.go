package servers

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"fanfare/bench/load"

	"github.com/nats-io/nats.go"
)

// TestNATS runs a NATS server, as the module fanfare requires it, and subscribes with the NATS client.
func TestNATS(t *testing.T) {
	program := t.TempDir() + "/nats-server"
	if err := BuildNATS(t.Context(), program); err != nil {
		t.Fatal(err)
	}
	testProduct(t, (Catalog{NATS: program}).nats())
}

// TestDefault runs the same checks on fanfare, as WebSocket and as server-sent events.
func TestDefault(t *testing.T) { testProduct(t, catalog.fanfareDefault("")) }

// TestProducts runs the same checks on the other push servers. Their programs are built first, which takes minutes, so it
// runs with make bench-servers only.
func TestProducts(t *testing.T) {
	if os.Getenv("FANFARE_BENCH_SERVERS") == "" {
		t.Skip("make bench-servers runs this test: it builds the servers")
	}
	var c Catalog
	if err := c.BuildProducts(t.Context(), []string{"centrifugo", "mercure"}); err != nil {
		t.Fatal(err)
	}
	for _, spec := range []Spec{c.centrifugo(), c.mercure()} {
		t.Run(spec.Name, func(t *testing.T) { testProduct(t, spec) })
	}
}

// testProduct opens the sessions of two users, with clients that are not ours, and compares what they receive.
func testProduct(t *testing.T, spec Spec) {
	s := startForTest(t, Start, spec, time.Second)
	names := []string{"a", "b"}
	tokens, err := s.Tokens(names)
	if err != nil {
		t.Fatal(err)
	}
	for _, events := range []bool{false, true} {
		if events && spec.Product.Events == "" || !events && spec.Product.Path == "" {
			continue
		}
		t.Run(fmt.Sprintf("events=%t", events), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			var read []func() string
			for i, user := range names {
				switch {
				case spec.Product.Dialect == load.NATS:
					read = append(read, subscribe(t, s, user, tokens[i]))
				case events:
					read = append(read, listen(t, ctx, s, user, tokens[i]))
				default:
					read = append(read, join(t, s, user, tokens[i]))
				}
			}
			if spec.Product.Counts {
				await(t, s, 2)
			}
			sent := func(receivers int, err error) {
				t.Helper()
				if err != nil {
					t.Error(err)
				}
			}
			sent(s.Broadcast(ctx, []byte(`"all 1"`)))
			sent(s.PushUser(ctx, "a", []byte(`"to a"`)))
			sent(s.PushUser(ctx, "b", []byte(`"to b"`)))
			sent(s.PushUser(ctx, "c", []byte(`"to c"`)))
			if spec.Product.Lacks["batch"] == "" {
				sent(0, s.PushBatch(ctx, []Push{{"a", []byte(`"batch a"`)}, {"b", []byte(`"batch b"`)}}))
			}
			sent(s.Broadcast(ctx, []byte(`"all 2"`)))
			for i, user := range names {
				want := []string{`"all 1"`, `"to ` + user + `"`}
				if spec.Product.Lacks["batch"] == "" {
					want = append(want, `"batch `+user+`"`)
				}
				for _, w := range append(want, `"all 2"`) {
					if got := read[i](); got != w {
						t.Errorf("%s received %s, not %s", user, got, w)
					}
				}
			}
			if spec.Product.Counts {
				cancel()
				await(t, s, 0)
			}
		})
	}
	// A token with a wrong signature opens no session.
	if spec.Product.Dialect == "" {
		resp, err := http.Get("http://" + s.Listen.String() + expandPath(spec.Product.Events, "a", tokens[0]+"x"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("a wrong token: %s", resp.Status)
		}
	}
}

func expandPath(path, user, token string) string {
	return strings.NewReplacer("{user}", user, "{token}", url.QueryEscape(token)).Replace(path)
}

// join opens a WebSocket of a server that is not NATS.
func join(t *testing.T, s *Server, user, token string) (read func() string) {
	c := dial(t, s, expandPath(s.Spec.Product.Path, user, token))
	unwrap := func(text string) string { return text }
	if s.Spec.Product.Dialect == load.Centrifugo {
		if err := c.WriteMessage(1, fmt.Appendf(nil, `{"token":%q}`, token)); err != nil {
			t.Fatal(err)
		}
		unwrap = centrifugoData(t)
	}
	read = func() string {
		for {
			_, p, err := c.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			if text := unwrap(string(p)); text != "" {
				return text
			}
		}
	}
	if s.Spec.Product.Dialect == load.Centrifugo && read() != "connected" {
		t.Fatal("not connected")
	}
	return read
}

// centrifugoData returns a function that returns the data of a publication, "connected", or "" for a ping.
func centrifugoData(t *testing.T) func(string) string {
	return func(text string) string {
		var m struct {
			Connect *struct{ Subs map[string]any }
			Pub     *struct{ Data json.RawMessage }
		}
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		switch {
		case m.Connect != nil && len(m.Connect.Subs) == 2:
			return "connected"
		case m.Pub != nil:
			return string(m.Pub.Data)
		}
		return ""
	}
}

// listen opens a stream of server-sent events.
func listen(t *testing.T, ctx context.Context, s *Server, user, token string) (read func() string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Listen.String()+expandPath(s.Spec.Product.Events, user, token), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v: %v", resp, err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	lines := bufio.NewScanner(resp.Body)
	unwrap := func(text string) string { return text }
	if s.Spec.Product.Dialect == load.Centrifugo {
		unwrap = centrifugoData(t)
	}
	read = func() string {
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data:"); ok {
				if text := unwrap(strings.TrimSpace(data)); text != "" {
					return text
				}
			}
		}
		t.Fatalf("the stream has ended: %v", lines.Err())
		return ""
	}
	if s.Spec.Product.Dialect == load.Centrifugo && read() != "connected" {
		t.Fatal("not connected")
	}
	return read
}

// subscribe subscribes with the NATS client, over WebSocket.
func subscribe(t *testing.T, s *Server, user, token string) (read func() string) {
	c, err := nats.Connect("ws://"+s.Listen.String(), nats.UserJWT(
		func() (string, error) { return token, nil }, func([]byte) ([]byte, error) { return nil, nil }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	messages := make(chan *nats.Msg, 10)
	for _, subject := range []string{load.AllChannel, load.UserChannel(user)} {
		if _, err := c.ChanSubscribe(subject, messages); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	return func() string {
		select {
		case m := <-messages:
			return string(m.Data)
		case <-time.After(20 * time.Second):
			return "nothing"
		}
	}
}
