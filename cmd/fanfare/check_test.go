package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"fanfare/cmd/fanfare/internal/settings"
)

// TestCheck: one line for each flag, with its value and where that is from.
func TestCheck(t *testing.T) {
	withoutRace(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "fanfare.json")
	text := "{\"ping-interval\": \"60s\",\n\n \"allow-origin\": [\"https://a.example\",\n \"https://b.example\"],\n\"nats\": \"nats://user:secret@a\",\n\"workers\": 7, \"queue-bytes\": 131072}"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := runProgram(t, "", []string{"FANFARE_PING_INTERVAL=30s", "FANFARE_INBOX_AGE=1d", "FANFARE_API_KEY=0123456789abcdef", "FANFARE_LISTEM=x"},
		"check", "--config="+file, "--workers=8", "--trusted-proxy=10.0.0.1")
	if r.code != exitOK {
		t.Fatalf("%+v", r)
	}
	for _, want := range []string{
		"config FILE command line", "listen 127.0.0.1:8080 default", "ping-interval 30s FANFARE_PING_INTERVAL", "inbox-age 1d FANFARE_INBOX_AGE",
		"allow-origin https://a.example,https://b.example FILE:3", "nats nats://xxxxx@a FILE:5", "workers 8 command line", "queue-bytes 128KiB FILE:6",
		"trusted-proxy 10.0.0.1 command line", "echo false default", "node-name - default", "inbox-positions 256MiB default",
		"max-connections (as many as descriptors allow) default", "(one more API key) xxxxx FANFARE_API_KEY",
	} {
		pattern := strings.NewReplacer("FILE", regexp.QuoteMeta(file), " ", " +").Replace(regexp.QuoteMeta(want))
		if !regexp.MustCompile("(?m)^" + pattern + "$").MatchString(r.stdout) {
			t.Errorf("%q is missing in\n%s", want, r.stdout)
		}
	}
	for _, f := range new(settings.Serve).Flags() {
		if !strings.Contains("\n"+r.stdout, "\n"+f.Name+" ") {
			t.Errorf("--%s is missing", f.Name)
		}
	}
	if strings.Contains(strings.ReplaceAll(r.stdout, "webhook-secret-file", "")+r.stderr, "secret") || strings.Contains(r.stdout+r.stderr, "0123456789abcdef") {
		t.Errorf("a secret is shown: %+v", r)
	}
	if !strings.Contains(r.stderr, "FANFARE_LISTEM") {
		t.Errorf("no warning of an unknown variable: %q", r.stderr)
	}
}

// TestCheckFails: check finds what serve would, and still shows what it has read.
func TestCheckFails(t *testing.T) {
	withoutRace(t)
	home := t.TempDir()
	for _, test := range []struct{ args, want string }{
		{"--workers 0", "--workers is 0"},
		{"--auth jwt --jwt-key-file /nowhere", "--jwt-key-file: open /nowhere"},
		{"--api-key-file /nowhere", "--api-key-file: open /nowhere"},
		{"--api 0.0.0.0:8081", "--api is 0.0.0.0:8081, which is not loopback: give --api-key-file"},
		{"--inbox-disk 1K", "--inbox-disk is 1024"},
		{"--nats a --node-name a/b", `--node-name is "a/b"`},
		{"--nats http://a", `fanfare: --nats "http://a" has an unknown scheme`},
		{"--compression-level 9", "--compression-level has no effect here"},
	} {
		r := runProgram(t, "", []string{"HOME=" + home}, append([]string{"check"}, strings.Fields(test.args)...)...)
		if r.code != exitUsage || !strings.Contains(r.stderr, test.want) || strings.Count(r.stderr, "\n") != 1 || !strings.Contains(r.stdout, "\nlisten ") {
			t.Errorf("%s: %+v, want %q", test.args, r, test.want)
		}
	}
	if r := runProgram(t, "", nil, "check", "--no-such-flag"); r.code != exitUsage || r.stdout != "" {
		t.Errorf("%+v", r)
	}
	if left, err := os.ReadDir(home); err != nil || len(left) > 0 {
		t.Errorf("check has made %v, %v", left, err)
	}
}

func TestHealth(t *testing.T) {
	withoutRace(t)
	dir := t.TempDir()
	p := startServer(t, nil)
	socket := startServer(t, nil, "--api=unix:"+dir+"/api?mode=0600")
	config := filepath.Join(dir, "config")
	if err := os.WriteFile(config, []byte(`{"api": "`+p.api+`", "workers": 7}`), 0o600); err != nil {
		t.Fatal(err)
	}
	leaving := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprintf(w, "asked for %s", r.URL.RequestURI())
	}))
	defer leaving.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for _, test := range []struct {
		name, env, args string
		code            int
		want            string // a part of the output
	}{
		{"flag", "", "--api " + p.api, exitOK, `"ok"`},
		{"argument", "", p.api, exitOK, `"ok"`},
		{"environment", "FANFARE_API=" + p.api, "", exitOK, `"ok"`},
		{"config file", "FANFARE_CONFIG=" + config, "", exitOK, `"ok"`},
		{"socket", "", "--api " + socket.api + "?mode=0600", exitOK, `"ok"`},
		{"ready", "", "--ready " + p.api, exitOK, `"ready"`},
		{"URL", "", leaving.URL, exitOK, "asked for /healthz"},
		{"URL with a path", "", leaving.URL + "/healthz?strict", exitOK, "asked for /healthz?strict"},
		{"not ready", "", "--ready " + leaving.URL, exitFailure, "answers 503 Service Unavailable: asked for /readyz"},
		{"not there", "", closed.Addr().String(), exitFailure, "connection refused"},
		{"ready and a path", "", "--ready " + leaving.URL + "/healthz", exitUsage, "--ready has no effect here"},
		{"no address", "", "nowhere", exitUsage, "is not an address"},
		{"no time", "", "--timeout 0s", exitUsage, "--timeout is 0s"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := runProgram(t, "", []string{test.env}, append([]string{"health"}, strings.Fields(test.args)...)...)
			if r.code != test.code || !strings.Contains(r.stdout+r.stderr, test.want) || strings.Count(r.stdout+r.stderr, "\n") != 1 {
				t.Errorf("%+v, want code %d and %q", r, test.code, test.want)
			}
		})
	}
}
