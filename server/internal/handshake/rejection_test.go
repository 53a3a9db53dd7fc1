package handshake

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRejectionResponse(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	for _, tt := range []struct {
		r    *Rejection
		date string
	}{
		{&Rejection{Status: 400, Text: "why"}, "Fri, 02 Jan 2026 02:04:05 GMT"},
		{&Rejection{Status: 503, Text: "later", Header: http.Header{"Retry-After": {"5"}}}, ""},
		{&Rejection{Status: 401, Text: "who?", Header: http.Header{"Www-Authenticate": {"Bearer", "Basic\r\nInjected: 1"}}}, "Fri, 02 Jan 2026 02:04:05 GMT"},
	} {
		b := tt.r.AppendResponse(nil, now)
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if resp.StatusCode != tt.r.Status || string(body) != tt.r.Text+"\n" || err != nil || !resp.Close {
			t.Errorf("%q", b)
		}
		if resp.Header.Get("Date") != tt.date || resp.Header.Get("Injected") != "" {
			t.Errorf("header %v", resp.Header)
		}
		for name, values := range tt.r.Header {
			if got := resp.Header.Values(name); len(got) != len(values) || got[0] != values[0] {
				t.Errorf("%s is %q, want %q", name, got, values)
			}
		}
	}
}

func TestRejectionWhy(t *testing.T) {
	r := &Rejection{Status: 404, Text: `no endpoint at "/x"`}
	if r.Why() != r.Text || !strings.HasPrefix(r.Error(), "404: no endpoint") {
		t.Errorf("%q, %q", r.Why(), r.Error())
	}
	if r.Reason = "no endpoint"; r.Why() != "no endpoint" {
		t.Errorf("%q", r.Why())
	}
}
