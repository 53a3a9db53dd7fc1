package server

import (
	"net/netip"
	"strings"
	"testing"
)

// DNS rebinding: evil.example resolves to this machine, so its pages have the same origin
// as a server on loopback. A server that believes what clients say rejects such a Host.
func TestDNSRebinding(t *testing.T) {
	token := Endpoint{Path: "/token", Identifier: FromQuery, NonBlocking: true}
	proxy := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for _, tt := range []struct {
		name   string
		cfg    Config
		status int // for a foreign host
	}{
		{"default endpoints", Config{}, 403},
		{"insecure endpoint beside others", Config{Endpoints: []Endpoint{token, PushEndpoint("/ws"), EchoEndpoint("/echo")}}, 403},
		{"trusted proxy", Config{TrustedProxies: proxy}, 101},
		{"nothing insecure", Config{Endpoints: []Endpoint{token, EchoEndpoint("/echo")}}, 101},
		{"open to the world", Config{Listen: "0.0.0.0:0", InsecureIdentity: true}, 101},
		{"Unix socket", Config{Listen: "unix:" + t.TempDir() + "/s"}, 101},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := start(t, tt.cfg)
			ask := func(request string) (status int, body string) {
				c := connect(t, srv)
				defer c.Close()
				c.say(request)
				resp := c.answer()
				if resp.StatusCode != 101 {
					b := make([]byte, resp.ContentLength)
					resp.Body.Read(b)
					body = string(b)
				}
				return resp.StatusCode, body
			}
			for host, status := range map[string]int{
				"evil.example:8080": tt.status, "localhost.evil.example": tt.status, "localhost": 101, "localhost:8080": 101, "app.localhost": 101, "127.0.0.1:8080": 101, "[::1]:1": 101,
			} {
				got, body := ask(request("Host: "+host, "+Origin: http://"+host))
				if got != status {
					t.Errorf("%s: status %d, want %d", host, got, status)
				}
				if got == 403 && !strings.Contains(body, "(Config.TrustedProxies)") {
					t.Errorf("%s: %q does not say what to do", host, body)
				}
			}
			// The same for requests that are not handshakes: the console speaks for its user.
			want := map[int]int{403: 403, 101: 404}[tt.status]
			if got, _ := ask("GET /x HTTP/1.1\r\nHost: evil.example\r\n\r\n"); got != want {
				t.Errorf("ordinary request: status %d, want %d", got, want)
			}
			if got, _ := ask("GET http://evil.example/x HTTP/1.1\r\nHost: localhost\r\n\r\n"); got != want {
				t.Errorf("ordinary request with an absolute target: status %d, want %d", got, want)
			}
		})
	}
}
