package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gobwas/ws/wsutil"
)

// streamModule is nginx's module for TCP, which Debian packages by itself.
const streamModule = "/usr/lib/nginx/modules/ngx_stream_module.so"

// tcpProxies send a PROXY protocol header.
var tcpProxies = []proxy{
	{
		name: "haproxy", lang: "haproxy", block: 1, args: []string{"-db", "-f"},
		replace: []string{"bind :443", "bind 127.0.0.1:PORT"},
	},
	{
		name: "haproxy", lang: "haproxy", block: 1, args: []string{"-db", "-f"},
		replace: []string{"bind :443", "bind 127.0.0.1:PORT", "send-proxy-v2", "send-proxy"},
	},
	{
		name: "nginx", lang: "nginx", block: 1, args: []string{"-p", "DIR", "-c"},
		before:  "load_module " + streamModule + "; daemon off; pid DIR/pid; error_log stderr;\nevents { worker_connections 64; }\n",
		replace: []string{"listen 443", "listen 127.0.0.1:PORT"},
	},
}

// TestDocsProxyProtocol runs proxies for TCP with their configurations: TLS ends at the server,
// which knows the addresses of clients. Their health checks connect meanwhile.
func TestDocsProxyProtocol(t *testing.T) {
	withoutRace(t)
	for _, px := range tcpProxies {
		t.Run(px.name, func(t *testing.T) {
			program, err := exec.LookPath(px.name)
			if err != nil {
				t.Skipf("the configuration for %s is not tried, it is not installed", px.name)
			}
			if _, err := os.Stat(streamModule); err != nil && px.name == "nginx" {
				t.Skip("nginx is installed without its module stream")
			}
			pem := filepath.Join(t.TempDir(), "site.pem")
			certificate(t, pem)
			p := startServer(t, nil, "--proxy-protocol=127.0.0.1", "--tls-cert="+pem, "--tls-key="+pem)
			site := px.start(t, program, p)
			bob := site.connect(t, "127.0.0.3", "bob")
			user := string(get(t, "http://"+p.api+"/v1/users/bob"))
			if want := `"remote_addr":"` + bob.LocalAddr().String() + `"`; !strings.Contains(user, want) {
				t.Errorf("no %s in %s", want, user)
			}
			post(t, "http://"+p.api+"/v1/users/bob/push", "text/plain", "hello")
			if msg, err := wsutil.ReadServerText(bob); string(msg) != "hello" || err != nil {
				t.Errorf("bob received %q, %v", msg, err)
			}
			stats := string(get(t, "http://"+p.api+"/v1/stats"))
			if !strings.Contains(stats, `"proxy_header_errors":0`) {
				t.Errorf("headers of %s are rejected: %s", px.name, stats)
			}
		})
	}
}
