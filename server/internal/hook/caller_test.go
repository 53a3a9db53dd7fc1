package hook

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fanfare/server/internal/callout"
)

// config is the configuration of a hook.
type config struct {
	url  string
	logs *bytes.Buffer
}

func (c config) backend() (*Backend, error) {
	b := &Backend{Target: callout.Target{URL: c.url}, Secrets: [][]byte{bytes.Repeat([]byte("x"), minSecret)}, Logger: slog.New(slog.NewTextHandler(c.logs, nil))}
	return b, b.Check("test", "Conns")
}

var errExcluded, errBackend = errors.New("excluded"), errors.New("the backend does not work")

func newCaller(t *testing.T) (*Caller[config, int], *bytes.Buffer) {
	t.Helper()
	logs := new(bytes.Buffer)
	c, err := New[config, int]("test hook", config{"http://127.0.0.1/one", logs}, config.backend, OpenFor, func(err error) bool { return err == errExcluded })
	if err != nil {
		t.Fatal(err)
	}
	return c, logs
}

// TestBreaker: the circuit breaker opens after failures in a row, and lets one request through
// after a while.
func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, logs := newCaller(t)
		say := func(answer error) error {
			_, err := c.Execute(func() (int, error) { return 1, answer })
			return err
		}
		for _, answer := range []error{errBackend, nil, errExcluded} { // never as many failures in a row
			for range TripAfter - 1 {
				if err := say(answer); err != answer {
					t.Errorf("got %v, want %v", err, answer)
				}
			}
		}
		for range TripAfter {
			if c.Open() != 0 {
				t.Error("it opened early")
			}
			say(errBackend)
		}
		if err := say(nil); err != ErrOpen || c.Open() != 1 {
			t.Errorf("got %v, and it is open: %d", err, c.Open())
		}
		time.Sleep(OpenFor + 1)
		if err := say(nil); err != nil || c.Open() != 0 {
			t.Errorf("after a while: %v, and it is open: %d", err, c.Open())
		}
		if n := strings.Count(logs.String(), "test hook circuit breaker"); n != 3 {
			t.Errorf("%d changes are logged, want 3: %s", n, logs)
		}
	})
}

// TestSetConfig: a new configuration is that of the requests that follow, and a wrong one
// changes nothing.
func TestSetConfig(t *testing.T) {
	c, _ := newCaller(t)
	defer c.Close()
	first := c.Settings()
	if err := c.SetConfig(config{"ftp://x", new(bytes.Buffer)}); err == nil || c.Settings() != first {
		t.Errorf("a wrong configuration: %v", err)
	}
	logs := new(bytes.Buffer)
	if err := c.SetConfig(config{"http://127.0.0.1/two", logs}); err != nil {
		t.Error(err)
	}
	if set := c.Settings(); set.URL != "http://127.0.0.1/two" || set.Config.url != set.URL {
		t.Errorf("settings %+v", set)
	}
	now := time.Unix(1000, 0)
	for range 2 {
		c.Log(now, "test hook failed", errBackend, "failed", 7)
	}
	if c.Log(now.Add(time.Second), "test hook failed", errBackend); strings.Count(logs.String(), "test hook failed") != 2 || !strings.Contains(logs.String(), "url=http://127.0.0.1/two") || !strings.Contains(logs.String(), "failed=7") {
		t.Errorf("want one line a second: %s", logs)
	}
}
