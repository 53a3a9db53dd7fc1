package profile

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// TestServe: a profile is served, or the answer says which parameter is wrong. The tests of
// package api have clients that leave.
func TestServe(t *testing.T) {
	quit, cancel := context.WithCancel(context.Background())
	cancel() // profiles end at once
	for _, tt := range []struct {
		name, query string
		status      int
		want        string
	}{
		{"goroutine", "debug=2", 200, "goroutine "},
		{"heap", "gc=1", 200, "\x1f\x8b"},
		{"trace", "seconds=300", 200, "go 1."},
		{"heap", "seconds=1", 400, "seconds is for profile and trace"},
		{"trace", "debug=1", 400, "not for trace"},
		{"profile", "seconds=301", 400, "want 1 to 300"},
		{"nothing", "", 404, "no such profile"},
	} {
		ctx := new(fasthttp.RequestCtx)
		conn, client := net.Pipe()
		defer client.Close()
		ctx.Init2(conn, nil, false)
		ctx.QueryArgs().Parse(tt.query)
		status, text := 200, ""
		if p := Serve(ctx, tt.name, Until{quit, func(read func()) { read() }}); p != nil {
			status, text = p.Status, p.Message
		} else {
			text = string(ctx.Response.Body())
		}
		if status != tt.status || !strings.Contains(text, tt.want) {
			t.Errorf("%s?%s: %d %.80q, want %d %q", tt.name, tt.query, status, text, tt.status, tt.want)
		}
	}
	ctx := new(fasthttp.RequestCtx)
	List(ctx)
	if list := string(ctx.Response.Body()); !strings.Contains(list, "/debug/pprof/heap?debug=1\t") || !strings.Contains(list, "/debug/pprof/trace?seconds=1\n") {
		t.Error(list)
	}
}
