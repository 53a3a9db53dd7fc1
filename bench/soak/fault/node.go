package fault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

const contSignal = syscall.SIGCONT

// web is the client of all APIs. Requests have deadlines, which detect connections
// over a cut link.
var web = &http.Client{Transport: &http.Transport{
	DialContext:         (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
	MaxIdleConnsPerHost: 64,
	IdleConnTimeout:     5 * time.Second,
}}

// apiKey is required outside of loopback.
const apiKey = "only-for-this-test"

// node is a process of fanfare.
type node struct {
	*process
	listen, api string // addresses from home
}

func newNode(dir string, net network, at *place, program string, args ...string) (*node, error) {
	n := &node{}
	var err error
	if n.listen, err = net.via(net.home(), at, listenPort); err != nil {
		return nil, err
	}
	if n.api, err = net.via(net.home(), at, apiPort); err != nil {
		return nil, err
	}
	argv := append([]string{program, "serve",
		"--listen", fmt.Sprintf("%s:%d", at.ip, listenPort), "--api", fmt.Sprintf("%s:%d", at.ip, apiPort),
		"--auth", "none", "--handshakes-per-ip", "100000", "--connections-per-ip", "100000",
		"--drain-timeout", "2s"}, args...)
	if ip, err := netip.ParseAddr(at.ip); err == nil && !ip.IsLoopback() {
		argv = append(argv, "--insecure-identity")
	}
	n.process = newProcess(dir, at, argv...)
	n.env = []string{"FANFARE_API_KEY=" + apiKey}
	return n, nil
}

// statusError is a response with an error status.
type statusError struct {
	status int
	body   string
}

func (e *statusError) Error() string { return fmt.Sprintf("status %d: %s", e.status, e.body) }

// status returns the status of an error response, or 0.
func status(err error) int {
	if e, ok := errors.AsType[*statusError](err); ok {
		return e.status
	}
	return 0
}

// call makes a request. answer may be nil.
func (n *node) call(ctx context.Context, method, path string, body []byte, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+n.api+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	req.Header.Set("Content-Type", "text/plain")
	resp, err := web.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return &statusError{resp.StatusCode, string(bytes.TrimSpace(text))}
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("fault: %s: %w: %.200q", path, err, text)
	}
	return nil
}

// isReady asks whether the node can store messages and reach its cluster: /readyz is 200 without.
func (n *node) isReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return n.call(ctx, "GET", "/healthz?strict", nil, nil)
}

// ready waits until the node is ready. It starts a node again that has exited,
// because NATS was down, as a supervisor would do.
func (n *node) ready(ctx context.Context, limit time.Duration) error {
	err := until(ctx, limit, func(ctx context.Context) error {
		if !n.running() {
			if err := n.start(); err != nil {
				return err
			}
		}
		return n.isReady(ctx)
	})
	if err != nil {
		return fmt.Errorf("fault: %s is not ready: %w\n%s", n.name, err, n.tail())
	}
	return nil
}

// stored is the answer to a push.
type stored struct {
	Offset    uint64 `json:"offset"`
	Epoch     string `json:"epoch"`
	Receivers int    `json:"receivers"`
}

// push pushes a message to a user, durable if there is an id.
func (n *node) push(ctx context.Context, user, id, text string) (s stored, err error) {
	path := "/v1/users/" + url.PathEscape(user) + "/push"
	if id != "" {
		path += "?durable=true&id=" + url.QueryEscape(id)
	}
	err = n.call(ctx, "POST", path, []byte(text), &s)
	return s, err
}
