package servers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// callLimit is the timeout of a call whose context has no deadline.
const callLimit = 10 * time.Second

// newAPIClient returns a client with little overhead: it shares the machine with the servers.
func newAPIClient() *fasthttp.Client {
	return &fasthttp.Client{
		Name:                     "fanfare-bench",
		MaxConnsPerHost:          256,
		MaxIdleConnDuration:      time.Minute,
		NoDefaultUserAgentHeader: true,
	}
}

var (
	errNoAPI   = errors.New("servers: this server has no API")
	errNoStore = errors.New("servers: this server stores nothing")
	errNoBatch = errors.New("servers: this server has no batches")
)

// Broadcast posts body to all sessions and returns the number of receivers that the server reports.
func (s *Server) Broadcast(ctx context.Context, body []byte) (receivers int, err error) {
	return s.api().All(ctx, body)
}

// PushUser posts body to one user.
func (s *Server) PushUser(ctx context.Context, user string, body []byte) (receivers int, err error) {
	return s.api().User(ctx, user, body)
}

func userPath(user string) string { return "/v1/users/" + url.PathEscape(user) + "/push" }

// PushBatch pushes to several users in one request. Only a Product has batches.
func (s *Server) PushBatch(ctx context.Context, pushes []Push) error {
	return s.api().Batch(ctx, pushes)
}

// StoreBatch stores messages for several users in one request. Only a Storer can.
func (s *Server) StoreBatch(ctx context.Context, pushes []Push) error {
	if b, ok := s.backend.(Storer); ok {
		return b.Store(ctx, pushes)
	}
	return errNoStore
}

// Store stores a message for one user. Only a Storer can.
func (s *Server) Store(ctx context.Context, user string, body []byte) error {
	if b, ok := s.backend.(Storer); ok {
		return b.StoreUser(ctx, user, body)
	}
	return errNoStore
}

// PushStored posts body to one user, to be stored if durable is set.
func (s *Server) PushStored(ctx context.Context, user string, durable bool, body []byte) (receivers int, err error) {
	return s.push(ctx, fmt.Sprintf("%s?durable=%t", userPath(user), durable), body)
}

// PushTopic posts body to one topic.
func (s *Server) PushTopic(ctx context.Context, topic string, body []byte) (receivers int, err error) {
	return s.push(ctx, "/v1/topics/"+url.PathEscape(topic)+"/push", body)
}

func (s *Server) push(ctx context.Context, path string, body []byte) (int, error) {
	var answer struct{ Receivers int }
	err := s.call(ctx, fasthttp.MethodPost, path, body, &answer)
	return answer.Receivers, err
}

// Connect opens n connections to the API. Later calls use these and wait for a free one: a server without free
// descriptors accepts no further ones. No other method may be called at the same time.
func (s *Server) Connect(ctx context.Context, n int) error {
	s.slots = make(chan struct{}, n)
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	for {
		// Calls that overlap need a connection each. A server with few places for them may close some before it has read
		// their first request.
		var calls sync.WaitGroup
		errs := make([]error, n)
		for i := range n {
			calls.Go(func() { _, errs[i] = s.Stats(ctx) })
		}
		calls.Wait()
		if s.apiConns.Load() >= int32(n) {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("servers: %s: %d of %d connections to the API are open: %w", s.Spec.Name, s.apiConns.Load(), n, errors.Join(errs...))
		}
		time.Sleep(time.Millisecond)
	}
}

// connectTimeout bounds the time to open some connections to the API.
const connectTimeout = 20 * time.Second

// dialAPI counts the connections that are open.
func (s *Server) dialAPI(addr string) (net.Conn, error) {
	c, err := fasthttp.Dial(addr)
	if err != nil {
		return nil, err
	}
	s.apiConns.Add(1)
	return &apiConn{Conn: c, open: &s.apiConns}, nil
}

// apiConn is a connection to the API.
type apiConn struct {
	net.Conn
	open   *atomic.Int32
	closed atomic.Bool
}

func (c *apiConn) Close() error {
	if !c.closed.Swap(true) {
		c.open.Add(-1)
	}
	return c.Conn.Close()
}

// Stats returns the numbers of GET /v1/stats, or what a Product has of them.
func (s *Server) Stats(ctx context.Context) (map[string]float64, error) {
	return s.api().Stats(ctx)
}

// Metrics returns the samples of GET /metrics by name with labels.
func (s *Server) Metrics(ctx context.Context) (map[string]float64, error) {
	text, err := s.fetch(ctx, fasthttp.MethodGet, "/metrics", nil)
	if err != nil {
		return nil, err
	}
	samples := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if f, err := strconv.ParseFloat(value, 64); ok && err == nil && name != "#" {
			samples[name] = f
		}
	}
	return samples, nil
}

// call makes one request. answer may be nil.
func (s *Server) call(ctx context.Context, method, path string, body []byte, answer any) error {
	text, err := s.fetch(ctx, method, path, body)
	if err != nil || answer == nil {
		return err
	}
	return s.decode(path, text, answer)
}

// decode reads the JSON of a response to a request for path.
func (s *Server) decode(path string, text []byte, answer any) error {
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("servers: %s: %s: %w: %.200q", s.Spec.Name, path, err, text)
	}
	return nil
}

// fetch makes one request and returns the body of the response.
func (s *Server) fetch(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	return s.send(ctx, method, path, "", body)
}

// A statusError is a response with a status that is not a success.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string { return fmt.Sprintf("status %d: %s", e.code, e.text) }

// send makes one request with a body of some type and returns the body of the response.
func (s *Server) send(ctx context.Context, method, path, kind string, body []byte) ([]byte, error) {
	if s.API == "" {
		return nil, errNoAPI
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(callLimit)
	}
	if s.slots != nil {
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.Header.SetMethod(method)
	req.SetRequestURI(s.API + path)
	req.SetBodyRaw(body)
	if kind != "" {
		req.Header.SetContentType(kind)
	}
	if s.Key != "" {
		req.Header.Set(fasthttp.HeaderAuthorization, s.scheme+s.Key)
	}
	if err := s.http.DoDeadline(req, resp, deadline); err != nil {
		return nil, fmt.Errorf("servers: %s: %s: %w", s.Spec.Name, path, err)
	}
	if code := resp.StatusCode(); code >= 300 {
		return nil, fmt.Errorf("servers: %s: %s: %w", s.Spec.Name, path, &statusError{code, fmt.Sprintf("%.200s", resp.Body())})
	}
	return append([]byte(nil), resp.Body()...), nil
}
