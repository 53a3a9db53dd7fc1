package header

import (
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// TestCheck: what a header asks for is done, or an error.
func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		name, value string
		get         bool
		status      int // 0: accepted
		want        string
	}{
		{"X-Request-Id", "7", false, 0, ""},
		{"If-Match", "x", false, 400, "the API has no conditional requests"},
		{"If-Match", "", false, 0, ""},
		{"If-None-Match", "x", true, 0, ""},
		{"TTL", "60", false, 400, "the header field TTL is not supported"},
		{"Idempotency-Key", "1", false, 400, "same id"},
		{"X-HTTP-Method-Override", "DELETE", true, 400, "send the request with that method"},
		{"Expect", "100-Continue", false, 0, ""},
		{"Expect", "x", false, 417, "only 100-continue is"},
		{"Content-Encoding", "gzip", false, 415, "send the body as it is"},
		{"Content-Encoding", "identity", false, 0, ""},
	} {
		ctx := new(fasthttp.RequestCtx)
		ctx.Request.Header.Set(tt.name, tt.value)
		status, text := 0, ""
		if p := Check(ctx, tt.get); p != nil {
			status, text = p.Status, p.Message
		}
		if status != tt.status || !strings.Contains(text, tt.want) {
			t.Errorf("%s: %s: %d %s, want %d %s", tt.name, tt.value, status, text, tt.status, tt.want)
		}
	}
}

func TestCheckCharset(t *testing.T) {
	for _, tt := range []struct {
		contentType, body string
		ok                bool
	}{
		{"text/plain", "é", true},
		{"text/plain; charset=UTF-8", "é", true},
		{"text/plain; charset=iso-8859-1", "abc", true},
		{"text/plain; charset=iso-8859-1", "é", false},
		{"text/plain; charset=utf-16", "abc", false},
		{"text/plain; ???", "é", true},
	} {
		if p := CheckCharset([]byte(tt.contentType), []byte(tt.body)); (p == nil) != tt.ok || p != nil && p.Status != 415 {
			t.Errorf("%s, %s: %+v", tt.contentType, tt.body, p)
		}
	}
}
