package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"fanfare/frame"
	"fanfare/server"
)

// parseServe parses the flags of serve without running it.
func parseServe(t *testing.T, args ...string) *serveCmd {
	t.Helper()
	var c cli
	if _, err := parse(&c, append([]string{"serve"}, args...)); err != nil {
		t.Fatal(err)
	}
	return &c.Serve
}

// TestSources: command line before environment before config file before default.
func TestSources(t *testing.T) {
	file := filepath.Join(t.TempDir(), "fanfare.json")
	text := `{"ping-interval": "1m", "ping-timeout": "2m", "close-timeout": "3m", "max-payload": 1048577, "queue-bytes": "128KiB",
		"allow-origin": ["https://a.example", "https://b.example"], "pprof": true, "max-connections": 10, "log-level": "warn"}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("FANFARE_CONFIG", file)
	t.Setenv("FANFARE_PING_INTERVAL", "4m")
	t.Setenv("FANFARE_PING_TIMEOUT", "5m")
	got := parseServe(t, "--ping-interval=6m")
	want := parseDefaults(t)
	want.Config = configFile(file)
	want.PingInterval = 6 * time.Minute
	want.PingTimeout = 5 * time.Minute
	want.CloseTimeout = 3 * time.Minute
	want.MaxPayload = 1048577
	want.QueueBytes = 128 << 10
	want.AllowOrigin = []string{"https://a.example", "https://b.example"}
	want.Pprof = true
	want.MaxConnections = 10
	want.LogLevel = level(slog.LevelWarn)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// parseDefaults parses nothing, with an environment that names nothing.
func parseDefaults(t *testing.T) *serveCmd {
	t.Helper()
	for _, name := range []string{"FANFARE_CONFIG", "FANFARE_PING_INTERVAL", "FANFARE_PING_TIMEOUT"} {
		if value, ok := os.LookupEnv(name); ok {
			os.Unsetenv(name)
			defer os.Setenv(name, value)
		}
	}
	return parseServe(t)
}

// TestTrustedProxy: who has one load balancer writes its address.
func TestTrustedProxy(t *testing.T) {
	got := parseServe(t, "--trusted-proxy=10.0.0.0/8", "--trusted-proxy=192.0.2.1", "--trusted-proxy=2001:db8::1").TrustedProxy
	if s := fmt.Sprint(prefixes(got)); s != "[10.0.0.0/8 192.0.2.1/32 2001:db8::1/128]" {
		t.Error(s)
	}
}

func TestRepeatedFlag(t *testing.T) {
	got := parseServe(t, "--allow-origin=https://a.example", "--allow-origin", "*").AllowOrigin
	if want := []string{"https://a.example", "*"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestEveryFieldHasAFlag: what can be configured in a program that embeds the
// server can be configured here.
func TestEveryFieldHasAFlag(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := parseServe(t, "--api-key-file="+key, "--pprof", "--insecure-identity", "--allow-origin=*", "--trusted-proxy=10.0.0.0/8", "--max-connections=7", "--transport=epoll", "--data-dir="+t.TempDir(), "--durable-topic=a")
	cfg, err := cmd.config(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	v := reflect.ValueOf(cfg)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("server.Config.%s is set by no flag", v.Type().Field(i).Name)
		}
	}
}

// TestCompressionFlags: every field of frame.Deflate has one.
func TestCompressionFlags(t *testing.T) {
	cfg, err := parseServe(t, "--compression", "--compression-level=9", "--compression-context=12").config(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	want := frame.Rules{MaxMessage: 64 << 10, Deflate: frame.Deflate{Level: 9, MinSize: 256, MaxRatio: 100, ContextBits: 12}}
	for _, ep := range cfg.Endpoints {
		if !ep.Compress || ep.Rules != want {
			t.Errorf("%s: %v, %+v, want %+v", ep.Path, ep.Compress, ep.Rules, want)
		}
		d := reflect.ValueOf(ep.Rules.Deflate)
		for i := range d.NumField() {
			if d.Field(i).IsZero() {
				t.Errorf("frame.Deflate.%s is set by no flag", d.Type().Field(i).Name)
			}
		}
	}
}

// TestRateFlags: they are for both endpoints; that they do not hold for /echo on
// loopback is the server's business.
func TestRateFlags(t *testing.T) {
	cfg, err := parseServe(t, "--listen=0.0.0.0:0", "--max-message-rate=7", "--max-byte-rate=1KiB").config(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []server.Rate{{Messages: 7, Bytes: 1 << 10}, {Messages: 7, Bytes: 1 << 10, UnlimitedOnLoopback: true}} {
		if ep := cfg.Endpoints[i]; ep.Rate != want {
			t.Errorf("%s: %+v, want %+v", ep.Path, ep.Rate, want)
		}
	}
}

// TestDefaultsAreTheServers: the flags repeat the server's defaults, to show them
// in the help. The server accepts them as they are.
func TestDefaultsAreTheServers(t *testing.T) {
	cfg, err := parseServe(t, "--listen=127.0.0.1:0", "--api=127.0.0.1:0", "--data-dir="+t.TempDir()).config(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAPIKeys(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte("# new\n first-key \r\n\nsecond-key"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, file, env string
		want            []string
	}{
		{"none", "", "", nil},
		{"environment", "", "env-key", []string{"env-key"}},
		{"file", file, "", []string{"first-key", "second-key"}},
		{"both", file, "env-key", []string{"first-key", "second-key", "env-key"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv(apiKeyEnv, test.env)
			if got, err := apiKeys(test.file); err != nil || !slices.Equal(got, test.want) {
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
		})
	}
}
