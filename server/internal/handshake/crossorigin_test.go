package handshake

import (
	"net/http"
	"testing"
)

func TestCrossOrigin(t *testing.T) {
	for _, test := range []struct {
		allowed            Origins
		origin             string
		allow, credentials string
	}{
		{nil, "", "", ""},
		{nil, "https://other.example", "", ""},
		{nil, "https://here.example", "https://here.example", "true"}, // the request's own host
		{Origins{"https://app.example"}, "https://app.example", "https://app.example", "true"},
		{Origins{"https://app.example"}, "https://other.example", "", ""},
		{Origins{"*"}, "https://other.example", "*", ""},
		{Origins{"*", "https://app.example"}, "https://app.example", "https://app.example", "true"},
		{Origins{"*", "https://app.example"}, "https://other.example", "*", ""},
	} {
		r := new(Request)
		if test.origin != "" {
			r.Add("Origin", test.origin)
		}
		h := test.allowed.CrossOrigin(r, nil, []byte("here.example"))
		if got := h.Get("Access-Control-Allow-Origin"); got != test.allow || h.Get("Access-Control-Allow-Credentials") != test.credentials || h.Get("Vary") != "Origin" {
			t.Errorf("origin %q with %q allowed: %v, want %q %q", test.origin, test.allowed, h, test.allow, test.credentials)
		}
		if exposed := h.Get("Access-Control-Expose-Headers") != ""; exposed != (test.allow != "") {
			t.Errorf("origin %q with %q allowed: Retry-After is exposed: %t", test.origin, test.allowed, exposed)
		}
	}
}

func TestPreflight(t *testing.T) {
	h := make(http.Header)
	Preflight(h)
	if h.Get("Allow") != StreamMethods || h.Get("Access-Control-Allow-Headers") == "" || h.Get("Access-Control-Max-Age") != "600" {
		t.Errorf("%v", h)
	}
}
