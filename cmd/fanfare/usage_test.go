package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWrongUsage: whatever is wrong with what the user has written, the program
// says so in one line and ends with 2.
func TestWrongUsage(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, test := range []struct {
		name string
		args string // without spaces in a word
		env  string
		want string // a part of the line
	}{
		{name: "no command", want: `"serve"`},
		{name: "unknown command", args: "server", want: "unexpected argument server"},
		{name: "unknown flag", args: "serve --prot 1", want: "unknown flag --prot"},
		{name: "misspelled flag", args: "serve --ping-intreval 1s", want: `did you mean "--ping-interval"?`},
		{name: "argument", args: "serve now", want: "unexpected argument now"},
		{name: "no value", args: "serve --listen", want: "--listen"},
		{name: "no duration", args: "serve --ping-interval 25", want: "--ping-interval"},
		{name: "zero", args: "serve --ping-interval 0s", want: "--ping-interval is 0s: it cannot be switched off"},
		{name: "negative", args: "serve --drain-rate=-1", want: "--drain-rate is -1: it cannot be switched off"},
		{name: "too short", args: "serve --ping-timeout 1ms", want: "--ping-timeout is 1ms: want 100ms to 24h"},
		{name: "too many", args: "serve --workers 100000000", want: "--workers is 100000000: want"},
		{name: "too small", args: "serve --queue-bytes 1", want: "--queue-bytes is 1: want"},
		{name: "too large", args: "serve --max-header 1MiB", want: "--max-header is 1048576: want"},
		{name: "several", args: "serve --max-header 1MiB --ping-timeout 1ms", want: "to 61440; --ping-timeout is"},
		{name: "no size", args: "serve --max-payload 1MB", want: "want a size like 65536, 64KiB or 1MiB"},
		{name: "level", args: "serve --compression-level 10", want: "--compression-level is 10, want 0 to 9"},
		{name: "context", args: "serve --compression-context 8", want: "--compression-context is 8, want 0 or 9 to 15"},
		{name: "ratio", args: "serve --compression-ratio 0", want: "--compression-ratio is 0: it cannot be switched off"},
		{name: "transport", args: "serve --transport kqueue", want: "--transport must be one of"},
		{name: "policy", args: "serve --user-full block", want: "--user-full must be one of"},
		{name: "log level", args: "serve --log-level loud", want: "--log-level"},
		{name: "origin", args: "serve --allow-origin example.com", want: `allowed origin "example.com"`},
		{name: "log level explained", args: "serve --log-level loud", want: "want debug, info, warn or error"},
		{name: "hint", args: "serve --quite-something-else", want: "; see fanfare serve --help"},
		{name: "hint without a command", args: "help", want: "; see fanfare --help"},
		{name: "no address", args: "serve --listen 8080", want: `--listen is "8080": want HOST:PORT`},
		{name: "no port", args: "serve --api 127.0.0.1:99999", want: `--api is "127.0.0.1:99999": want HOST:PORT`},
		{name: "no proxy", args: "serve --trusted-proxy lb", want: "--trusted-proxy: want an address like"},
		{name: "identity beyond loopback", args: "serve --listen 0.0.0.0:0", want: "--insecure-identity"},
		{name: "identity on all addresses", args: "serve --listen :0", want: "is not loopback"},
		{name: "jwt without a key", args: "serve --auth jwt", want: "--auth jwt needs --jwt-key-file"},
		{name: "jwt key without jwt", args: "serve --jwt-key-file x", want: "--auth is none"},
		{name: "jwt issuer without jwt", args: "serve --jwt-issuer x", want: "--auth is none"},
		{name: "no jwt key file", args: "serve --auth jwt --jwt-key-file " + filepath.Join(dir, "none"), want: "--jwt-key-file: open"},
		{name: "short jwt secret", args: "serve --auth jwt --jwt-key-file " + file("shortjwt", "secret"), want: "secret of at least 32 bytes"},
		{name: "who names the user", args: "serve --auth ldap", want: "--auth must be one of"},
		{name: "API without a key", args: "serve --api :0", want: "--api-key-file"},
		{name: "no key file", args: "serve --api-key-file " + filepath.Join(dir, "none"), want: "no such file"},
		{name: "empty key file", args: "serve --api-key-file " + file("empty", "# nothing\n\n"), want: "has no key"},
		{name: "short key", args: "serve --api-key-file " + file("short", "secret\n"), want: "API key of 6 bytes is too short"},
		{name: "durable topics without a store", args: "serve --data-dir none --durable-topic a", want: "durable topics need an inbox"},
		{name: "two stores", args: "serve --data-dir x --nats nats://x", want: "--data-dir and --nats exclude each other"},
		{name: "environment", args: "serve", env: "FANFARE_PING_INTERVAL=soon", want: "FANFARE_PING_INTERVAL"},
		{name: "no config file", args: "serve --config " + filepath.Join(dir, "none"), want: "--config: open"},
		{name: "config file by environment", args: "serve", env: "FANFARE_CONFIG=" + filepath.Join(dir, "none"), want: "--config: open"},
		{name: "config is no JSON", args: "serve --config " + file("a", "listen: x"), want: "--config: invalid character"},
		{name: "config says where", args: "serve --config " + file("h", "{\n\"pprof\": true,\n}"), want: "in line 3"},
		{name: "config is empty", args: "serve --config " + file("i", ""), want: "--config: want one JSON object"},
		{name: "config is a list", args: "serve --config " + file("j", "[1]"), want: "--config: want one JSON object"},
		{name: "config is cut off", args: "serve --config " + file("k", `{"pprof"`), want: "--config: want one JSON object"},
		{name: "config has more", args: "serve --config " + file("b", "{} {}"), want: "nothing behind it"},
		{name: "unknown key", args: "serve --config " + file("c", `{"listen": "127.0.0.1:0", "lissen": ""}`), want: `--config: unknown key "lissen"`},
		{name: "config of a config", args: "serve --config " + file("d", `{"config": "e"}`), want: `--config: unknown key "config"`},
		{name: "wrong type", args: "serve --config " + file("e", `{"ping-interval": 25}`), want: "--ping-interval"},
		{name: "object", args: "serve --config " + file("f", `{"listen": {}}`), want: "--listen: want a string"},
		{name: "list of numbers", args: "serve --config " + file("g", `{"allow-origin": [1]}`), want: "--allow-origin: want a list of strings"},
		{name: "push to nobody", args: "push", want: `"<name>"`},
		{name: "push says too much", args: "push alice hello world", want: "unexpected argument world"},
		{name: "no API address", args: "push --api ftp://x alice x", want: `--api is "ftp://x"`},
		{name: "users without names", args: "users", want: `"<user>`},
	} {
		t.Run(test.name, func(t *testing.T) {
			var env []string
			if test.env != "" {
				env = []string{test.env}
			}
			r := runProgram(t, "", env, strings.Fields(test.args)...)
			if r.code != exitUsage {
				t.Errorf("exit code %d, want %d", r.code, exitUsage)
			}
			if !strings.HasPrefix(r.stderr, "fanfare: ") || strings.Count(r.stderr, "\n") != 1 || !strings.HasSuffix(r.stderr, "\n") {
				t.Errorf("stderr is not one line: %q", r.stderr)
			}
			if !strings.Contains(r.stderr, test.want) {
				t.Errorf("stderr is %q, want %q in it", r.stderr, test.want)
			}
			if r.stdout != "" {
				t.Errorf("stdout: %q", r.stdout)
			}
		})
	}
}
