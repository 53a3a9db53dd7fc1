package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/valyala/fasthttp"

	"fanfare/server"
	"fanfare/server/api/internal/problem"
)

// This file streams what happens to one user, for support staff.

const (
	// defaultTrace and maxTrace are the time of a trace, minTrace bounds it.
	defaultTrace = time.Minute
	minTrace     = 100 * time.Millisecond
	maxTrace     = time.Hour
	// traceBeat is after which silence an empty line is sent: writing it fails when the client
	// has left, which ends the trace.
	traceBeat = 5 * time.Second
)

// traceQuery are the parameters of a trace.
var traceQuery = []string{"payload", "for"}

// tracing is the body of the answer, which fasthttp reads: each Read waits for events.
type tracing struct {
	api    *API
	conn   net.Conn
	trace  *server.Trace
	user   string
	until  time.Time
	events bool // server-sent events, not lines

	out   []byte
	began bool
	ended bool
	last  coverage // that was sent
}

// getTrace serves GET /v1/users/{user}/trace?payload=&for=.
func (a *API) getTrace(ctx *fasthttp.RequestCtx, in names) *problem.Problem {
	args := ctx.QueryArgs()
	order := server.TraceOrder{User: in.user}
	switch payload := string(args.Peek("payload")); {
	case payload == "true", payload == "1":
		order.Payload = true
	case args.Has("payload") && payload != "false" && payload != "0":
		return problem.Errorf(400, "bad_query", "payload is %.40q: want true or false", payload)
	}
	span := defaultTrace
	if given := string(args.Peek("for")); args.Has("for") {
		text := given
		if text != "" && strings.Trim(text, "0123456789") == "" {
			text += "s"
		}
		var err error
		if span, err = time.ParseDuration(text); err != nil || span < minTrace || span > maxTrace {
			return problem.Errorf(400, "bad_query", "for is %.40q: want a time from 100ms to 1h, like 90s or 10m, or a number of seconds", given)
		}
	}
	if !ctx.Request.Header.IsHTTP11() {
		return problem.Errorf(505, "http_version", "a stream of events needs HTTP/1.1")
	}
	t := &tracing{api: a, conn: ctx.Conn(), user: in.user, events: bytes.Contains(ctx.Request.Header.Peek("Accept"), []byte(typeEvents))}
	ctx.SetContentType(typeLines)
	if t.events {
		ctx.SetContentType(typeEvents)
	}
	ctx.Response.Header.Set("Cache-Control", "no-store")
	if ctx.IsHead() {
		return nil
	}
	if n := a.waiting.Add(1); n > a.maxWaiting {
		a.waiting.Add(-1)
		return problem.Errorf(429, "too_many_waiting", "%d requests wait for messages or events, which is the limit: try later", n-1)
	}
	var err error
	if a.waits.Err() != nil {
		a.waiting.Add(-1)
		return shuttingDown
	}
	if t.trace, err = a.srv.Trace(order); err != nil {
		a.waiting.Add(-1)
		if errors.Is(err, server.ErrManyTraces) {
			return problem.Errorf(429, "too_many_traces", "%d traces are running, which is the limit: end one, or try later", server.MaxTraces)
		}
		return listProblem(err)
	}
	t.until = a.now().Add(span)
	ctx.SetWriteDeadline(a.now().Add(writeTimeout))
	ctx.Response.ImmediateHeaderFlush = true
	ctx.SetBodyStream(t, -1)
	return nil
}

const (
	typeLines  = "application/x-ndjson"
	typeEvents = "text/event-stream"
)

// Close is called by fasthttp when the answer is written, or cannot be.
func (t *tracing) Close() error {
	t.trace.End(t.api.quit)
	t.api.waiting.Add(-1)
	return nil
}

// Read is called by fasthttp for the next part of the answer.
func (t *tracing) Read(p []byte) (n int, err error) {
	defer func() {
		if v := recover(); v != nil {
			t.api.panicked("trace", v)
			n, err = 0, errPanic
		}
	}()
	if len(t.out) == 0 {
		if t.ended {
			return 0, io.EOF
		}
		t.wait()
		t.conn.SetWriteDeadline(t.api.now().Add(writeTimeout))
	}
	n = copy(p, t.out)
	t.out = t.out[n:]
	return n, nil
}

// wait waits for events, and appends them or what else is to be sent to out.
func (t *tracing) wait() {
	a := t.api
	t.out = t.out[:0]
	left := t.until.Sub(a.now())
	if left <= 0 {
		t.end("")
		return
	}
	b, err := t.trace.Next(a.waits, min(left, a.traceBeat))
	switch {
	case errors.Is(err, context.Canceled):
		t.end("the server is shutting down")
		return
	case err != nil:
		t.end(err.Error())
		return
	}
	c := coverageOf(b.Coverage)
	switch changed := c.Complete != t.last.Complete || c.MissingCount != t.last.MissingCount || !slices.Equal(c.Missing, t.last.Missing); {
	case !t.began:
		t.began = true
		t.line(struct {
			Event string    `json:"event"`
			User  string    `json:"user"`
			Until time.Time `json:"until"`
			coverage
		}{"trace", t.user, t.until.UTC().Round(0), c})
	case changed:
		t.line(struct {
			Event string `json:"event"`
			coverage
		}{"coverage", c})
	}
	t.last = c
	for i := range b.Events {
		t.line(&b.Events[i])
	}
	switch {
	case len(t.out) > 0:
	case t.events:
		t.out = append(t.out, ":\n\n"...)
	default:
		t.out = append(t.out, '\n')
	}
}

// end appends the last line.
func (t *tracing) end(reason string) {
	t.ended = true
	t.line(struct {
		Event  string `json:"event"`
		Reason string `json:"reason,omitempty"`
	}{"end", reason})
}

// line appends a line, or an event of server-sent events.
func (t *tracing) line(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic("BUG: api: an event cannot be JSON: " + err.Error())
	}
	if t.events {
		t.out = append(t.out, "data: "...)
	}
	t.out = append(append(t.out, b...), '\n')
	if t.events {
		t.out = append(t.out, '\n')
	}
}
