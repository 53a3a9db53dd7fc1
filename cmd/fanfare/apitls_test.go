package main

import (
	"crypto/tls"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// The API is served with TLS, and every client command reaches it. Its certificate is
// replaced while a connection stays open.
func TestAPITLS(t *testing.T) {
	t.Parallel() // waits until the files are read again
	a := newAuthority(t)
	cert, key := a.pair("a", "api.test")
	clientCert, clientKey := a.pair("c", "client.test")
	p := startServer(t, nil, "--api-tls-cert="+cert, "--api-tls-key="+key, "--api-tls-min=1.3", "--api-tls-client-ca="+a.file)
	if !strings.HasPrefix(p.serving["api"].(string), "https://") || !strings.HasPrefix(p.serving["listen"].(string), "http://") {
		t.Errorf("%v", p.serving)
	}
	cfg := a.client("api.test")
	own, err := tls.LoadX509KeyPair(clientCert, clientKey)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Certificates = []tls.Certificate{own}
	kept := &http.Transport{TLSClientConfig: cfg, MaxConnsPerHost: 1}
	defer kept.CloseIdleConnections()
	name := func(c *http.Transport) string {
		t.Helper()
		req, err := http.NewRequest("GET", "https://"+p.api+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, err := io.ReadAll(resp.Body); resp.StatusCode != 200 || err != nil {
			t.Fatalf("%d, %s, %v", resp.StatusCode, body, err)
		}
		return resp.TLS.PeerCertificates[0].Subject.CommonName
	}
	if got := name(kept); got != "api.test" {
		t.Errorf("the certificate is that of %s", got)
	}
	alice := p.connect("/ws?user=alice")
	_, port, _ := strings.Cut(p.api, ":")
	trust := []string{"--ca=" + a.file, "--client-cert=" + clientCert, "--client-key=" + clientKey}
	with := func(flags []string, args ...string) []string { return slices.Concat(args, flags) }
	config := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(config, []byte(`{"api": "`+p.api+`", "api-tls-cert": ["`+cert+`"], "api-tls-key": ["`+key+`"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		code int
		want string // a part of the output
	}{
		{with(trust, "push", "--api=https://"+p.api, "alice", "hello"), exitOK, "1"},
		{with(trust, "users", "--api=https://localhost:"+port, "--server-name=api.test", "alice"), exitOK, `"online":true`},
		{with(trust, "health", "https://"+p.api), exitOK, `"ok"`},
		{with(trust[1:], "health", "--config="+config), exitOK, `"ok"`},
		{with(trust[:1], "health", "https://"+p.api), exitFailure, "certificate required"},
		{with(trust[1:], "push", "--api=https://"+p.api, "alice", "hello"), exitFailure, "unknown authority"},
		{with(trust, "push", "--api=https://localhost:"+port, "alice", "hello"), exitFailure, "not localhost"},
		{[]string{"health", p.api}, exitFailure, "400 Bad Request: client sent an HTTP request to an HTTPS server"},
		{[]string{"health", p.api, "--ca=" + a.file}, exitUsage, "--ca, --server-name, --client-cert and --client-key have no effect here"},
		{[]string{"push", "--api=https://" + p.api, "--ca=" + key, "alice", "x"}, exitUsage, "--ca: " + key + " has no certificate in PEM"},
		{[]string{"push", "--api=https://" + p.api, "--client-cert=" + cert, "alice", "x"}, exitUsage, "belong together"},
	} {
		r := runProgram(t, "", nil, tt.args...)
		if r.code != tt.code || !strings.Contains(r.stdout+r.stderr, tt.want) {
			t.Errorf("%v: %+v, want %d and %q", tt.args, r, tt.code, tt.want)
		}
	}
	if msg, _ := receive(t, alice); msg != "hello" {
		t.Errorf("alice received %q", msg)
	}
	old := cfg.Clone()
	old.MaxVersion = tls.VersionTLS12
	if nc, err := tls.Dial("tcp", p.api, old); err == nil {
		nc.Close()
		t.Error("TLS 1.2 is accepted")
	}
	a.pair("a", "renewed.test")
	if line := p.waitLog("TLS certificate reloaded"); line["file"] != cert || line["listener"] != "api" {
		t.Errorf("%v", line)
	}
	if got := name(kept); got != "api.test" {
		t.Errorf("the open connection has the certificate of %s", got)
	}
	fresh := &http.Transport{TLSClientConfig: cfg.Clone(), DisableKeepAlives: true}
	fresh.TLSClientConfig.ServerName = "renewed.test"
	if got := name(fresh); got != "renewed.test" {
		t.Errorf("a new connection has the certificate of %s", got)
	}
}

// One certificate serves both listeners, with its OCSP response.
func TestAPITLSSharedAndStaple(t *testing.T) {
	t.Parallel() // waits until the files are read again
	a := newAuthority(t)
	leaf, key := a.issue("a.test", false)
	certFile, keyFile := a.pairOf("a", leaf, key)
	der, err := ocsp.CreateResponse(a.cert, a.cert, ocsp.Response{
		Status: ocsp.Good, SerialNumber: leaf.SerialNumber, ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(time.Hour),
	}, a.key)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := os.ReadFile(certFile)
	if err != nil {
		t.Fatal(err)
	}
	chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})...)
	staple := filepath.Join(a.dir, "staple")
	for file, content := range map[string][]byte{certFile: chain, staple: der} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := startServer(t, nil, "--tls-cert="+certFile, "--tls-key="+keyFile, "--tls-ocsp="+staple, "--api-tls-shared")
	for _, addr := range []string{p.public, p.api} {
		nc, err := tls.Dial("tcp", addr, a.client("a.test"))
		if err != nil {
			t.Fatal(err)
		}
		if string(nc.OCSPResponse()) != string(der) {
			t.Errorf("%s sends another staple", addr)
		}
		nc.Close()
		openssl, err := exec.LookPath("openssl")
		if err != nil {
			t.Skip("openssl is not installed")
		}
		cmd := exec.Command(openssl, "s_client", "-connect", addr, "-CAfile", a.file, "-status", "-verify_return_error")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "OCSP Response Status: successful") || !strings.Contains(string(out), "Cert Status: good") {
			t.Errorf("openssl: %v\n%s", err, out)
		}
	}
	if err := os.WriteFile(staple, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if line := p.waitLog("TLS certificates not reloaded, the old ones stay in use"); !strings.Contains(line["err"].(string), "is not an OCSP response") {
		t.Errorf("%v", line)
	}
	nc, err := tls.Dial("tcp", p.public, a.client("a.test"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if string(nc.OCSPResponse()) != string(der) {
		t.Error("the old staple is not in use")
	}
	r := runProgram(t, "", nil, "check", "--tls-cert="+certFile, "--tls-key="+keyFile, "--tls-ocsp="+staple)
	if r.code != exitUsage || !strings.Contains(r.stderr, "--tls-ocsp: "+staple+" is not an OCSP response") {
		t.Errorf("%+v", r)
	}
}
