package main

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The server starts although the authority is away, says so, and serves its API.
func TestACMEAuthorityAway(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "config")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"acme-domain": ["app.example.test"], "acme-agree": true, "acme-ca": "https://127.0.0.1:1/dir"}`)
	p := startServer(t, nil, "--data-dir="+dir, "--config="+config, "--api-tls-shared")
	if !strings.HasPrefix(p.serving["listen"].(string), "https://") || !strings.HasPrefix(p.serving["api"].(string), "https://") {
		t.Errorf("%v", p.serving)
	}
	if line := p.waitLog("ACME certificate not obtained, the authority is asked again"); !strings.Contains(line["err"].(string), "connection refused") || line["name"] != "app.example.test" {
		t.Errorf("%v", line)
	}
	for _, addr := range []string{p.public, p.api} {
		if nc, err := tls.Dial("tcp", addr, &tls.Config{ServerName: "app.example.test", InsecureSkipVerify: true}); err == nil {
			nc.Close()
			t.Errorf("%s has a certificate", addr)
		}
	}
	// From ACME to files needs a restart.
	cert, key := newAuthority(t).pair("a", "app.example.test")
	write(`{"tls-cert": ["` + cert + `"], "tls-key": ["` + key + `"]}`)
	p.signal(syscall.SIGHUP)
	for _, want := range []string{"--tls-cert", "--tls-key", "--acme-domain"} {
		if line := p.waitLog("flag needs a restart, the old value stays"); line["flag"] != want {
			t.Errorf("%v, want %s", line, want)
		}
	}
	if line := p.waitLog("reloaded"); len(line["changed"].([]any)) > 0 {
		t.Errorf("%v", line)
	}
	r := runProgram(t, "", nil, "check", "--data-dir="+t.TempDir(), "--acme-domain=app.example.test", "--acme-agree")
	if r.code != exitOK || !strings.Contains(r.stdout, "app.example.test") {
		t.Errorf("%+v", r)
	}
}
