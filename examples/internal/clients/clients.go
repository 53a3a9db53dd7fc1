// Package clients are WebSocket clients of other projects, with one
// interface: gorilla/websocket, coder/websocket, and the ws package of Node. They
// are for the tests of the examples.
package clients

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// Client is one connection, for one goroutine. No method waits longer than
// patience.
type Client interface {
	// Send sends a text message.
	Send(text string) error
	// Receive returns the next message, which must be text. The error is
	// Closed when the connection has ended.
	Receive() (string, error)
	// Close sends a close frame with 1000, and discards messages up to the server's
	// answer. An answer with another code is an error.
	Close() error
	end()
}

// Closed is how a connection has ended. The code is 1006 if the server sent no
// close frame.
type Closed struct {
	Code   int
	Reason string
}

func (c Closed) Error() string { return fmt.Sprintf("closed with %d %q", c.Code, c.Reason) }

// Rejected is the HTTP status of a handshake that was rejected.
type Rejected int

func (r Rejected) Error() string { return fmt.Sprintf("rejected with %d", int(r)) }

// patience bounds what a test waits for.
const patience = 20 * time.Second

// A Kind of client.
type Kind struct {
	Name string
	need func() error
	dial func(url string) (Client, error)
}

// Gorilla is the client for tests that need only one.
var Gorilla = Kind{"gorilla", nothing, dialGorilla}

// Kinds are all clients.
var Kinds = []Kind{Gorilla, {"coder", nothing, dialCoder}, {"Node", needNode, dialNode}}

func nothing() error { return nil }

// Need skips a test whose client cannot be installed, and fails it in CI.
func (k Kind) Need(t testing.TB) {
	t.Helper()
	switch err := k.need(); {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatalf("CI tests with %s, which cannot be installed: %v", k.Name, err)
	default:
		t.Skipf("no test with %s: %v", k.Name, err)
	}
}

// Dial connects to a URL that begins with http or ws, until the test ends. Need must have
// been called.
func (k Kind) Dial(t testing.TB, url string) Client {
	t.Helper()
	c, err := k.Try(t, url)
	if err != nil {
		t.Fatalf("%s: %v", k.Name, err)
	}
	return c
}

// Try is Dial for a handshake that may be Rejected.
func (k Kind) Try(t testing.TB, url string) (Client, error) {
	t.Helper()
	if rest, ok := strings.CutPrefix(url, "http"); ok {
		url = "ws" + rest
	}
	c, err := k.dial(url)
	if err == nil {
		t.Cleanup(c.end)
	}
	return c, err
}

// Want fails the test if the next message is another.
func Want(t testing.TB, c Client, text string) {
	t.Helper()
	if got, err := c.Receive(); err != nil || got != text {
		t.Fatalf("got %q, %v; want %q", got, err, text)
	}
}

// awaitClose reads up to the answer to a close frame.
func awaitClose(c Client) error {
	for {
		_, err := c.Receive()
		if closed, ok := err.(Closed); ok && closed.Code == 1000 {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// WantClosed fails the test if the connection does not end with this code.
func WantClosed(t testing.TB, c Client, code int) {
	t.Helper()
	got, err := c.Receive()
	if closed, ok := err.(Closed); !ok || closed.Code != code {
		t.Fatalf("got %q, %v; want a close with %d", got, err, code)
	}
}
