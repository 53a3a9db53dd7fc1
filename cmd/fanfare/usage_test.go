package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWrongUsage: the program describes every error in what the user has written in one
// line, and exits with 2.
func TestWrongUsage(t *testing.T) {
	withoutRace(t)
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
		{name: "no duration", args: "serve --ping-interval 25", want: "--ping-interval: want a duration like 30s, 5m or 7d"},
		{name: "zero", args: "serve --ping-interval 0s", want: "--ping-interval is 0s: it cannot be switched off"},
		{name: "negative", args: "serve --drain-rate=-1", want: "--drain-rate is -1: want more than 0"},
		{name: "null in the file", args: "serve --config " + file("nullvalue", `{"ping-interval": null}`), want: "--ping-interval: is null: want a value, or leave the key out"},
		{name: "null for a list", args: "serve --config " + file("nulllist", `{"allow-origin": null}`), want: "--allow-origin: is null"},
		{name: "null for a switch", args: "serve --config " + file("nullswitch", `{"echo": null}`), want: "--echo: is null"},
		{name: "number for a switch", args: "serve --config " + file("numberswitch", `{"echo": 1}`), want: "--echo: want true or false, not 1"},
		{name: "text for a switch", args: "serve --config " + file("textswitch", `{"echo": "true"}`), want: `--echo: want true or false, not "true"`},
		{name: "switch on and off", args: "serve --console --no-console", want: "--console and --no-console contradict each other: give one"},
		{name: "switch off and on", args: "serve --no-console --console=true", want: "--console and --no-console contradict each other: give one"},
		{name: "null for a text", args: "serve --config " + file("nulltext", `{"listen": null}`), want: "--listen: is null"},
		{name: "list for one value", args: "serve --config " + file("list", `{"listen": ["127.0.0.1:0"]}`), want: "--listen: want one value, not a list"},
		{name: "empty list for one value", args: "serve --config " + file("emptylist", `{"listen": []}`), want: "--listen: want one value, not a list"},
		{name: "query parameter", args: "serve --allow-query a=b", want: `--allow-query has "a=b": want the name of a parameter`},
		{name: "query pattern", args: "serve --allow-query a*b", want: `--allow-query has "a*b"`},
		{name: "forwarded without a proxy", args: "serve --forwarded", want: "--forwarded has no effect here: it needs --trusted-proxy"},
		{name: "topics of clients with a hook", args: "serve --auth hook --client-publish a", want: "--client-publish has no effect here: it needs --auth none"},
		{name: "topic of clients", args: "serve --client-publish " + strings.Repeat("x", 300), want: "--client-publish: "},
		{name: "NATS without a host", args: "serve --nats nats://", want: `--nats "nats://" has no host: want one as in nats://host:4222`},
		{name: "API beyond loopback without a key", args: "serve --api 0.0.0.0:0", want: "--api is 0.0.0.0:0, which is not loopback: give --api-key-file, or set FANFARE_API_KEY"},
		{name: "short key in the environment", args: "serve", env: "FANFARE_API_KEY=short", want: "FANFARE_API_KEY has 5 bytes: want a key of at least 16"},
		{name: "URL of health", args: "health ftp://x", want: `fanfare: URL is "ftp://x": want HOST:PORT`},
		{name: "address of health", args: "health nonsense", want: `fanfare: URL: "nonsense" is not an address`},
		{name: "negative size", args: "serve --max-message=-1", want: "--max-message: want a size like 65536, 64KiB or 1MiB, not \"-1\""},
		{name: "negative size after a space", args: "serve --max-message -1", want: `--max-message needs a value, and "-1" looks like a flag: if it is the value, write --max-message=-1; see fanfare serve --help`},
		{name: "flag in place of a value", args: "serve --listen --echo", want: `--listen needs a value, and "--echo" looks like a flag`},
		{name: "flag without a value", args: "serve --ping-interval", want: "--ping-interval needs a value; see"},
		{name: "switch for a text", args: "serve --config " + file("true", `{"listen": true}`), want: "--listen: want a string or a number, not true"},
		{name: "data directory that is a file", args: "serve --data-dir /dev/null", want: "--data-dir is /dev/null, which is not a directory"},
		{name: "certificate without a key", args: "serve --tls-cert x", want: "want one --tls-key for each --tls-cert: certificates are 1, and keys 0"},
		{name: "too short", args: "serve --ping-timeout 1ms", want: "--ping-timeout is 1ms: want 100ms to 24h"},
		{name: "too many", args: "serve --workers 100000000", want: "--workers is 100000000: want"},
		{name: "too small", args: "serve --queue-bytes 1", want: "--queue-bytes is 1: want"},
		{name: "too large", args: "serve --max-header 1MiB", want: "--max-header is 1048576: want"},
		{name: "several", args: "serve --max-header 1MiB --ping-timeout 1ms", want: "to 61440; --ping-timeout is"},
		{name: "no size", args: "serve --max-payload 1.5MB", want: "want a size like 65536, 64KiB or 1MiB"},
		{name: "level", args: "serve --compression --compression-level 10", want: "fanfare: --compression-level is 10: want 0 to 9\n"},
		{name: "context", args: "serve --compression --compression-context 8", want: "--compression-context is 8: want 0 or 9 to 15"},
		{name: "ratio", args: "serve --compression-ratio 0", want: "--compression-ratio is 0: it cannot be switched off"},
		{name: "transport", args: "serve --transport kqueue", want: "--transport must be one of"},
		{name: "policy", args: "serve --user-full block", want: "--user-full must be one of"},
		{name: "log level", args: "serve --log-level loud", want: "--log-level"},
		{name: "origin", args: "serve --allow-origin example.com", want: `allowed origin "example.com"`},
		{name: "log level explained", args: "serve --log-level loud", want: "want debug, info, warn or error"},
		{name: "hint", args: "serve --quite-something-else", want: "; see fanfare serve --help"},
		{name: "hint without a command", args: "help", want: "; see fanfare --help"},
		{name: "no address", args: "serve --listen 8080", want: `--listen: "8080" is not an address: want HOST:PORT`},
		{name: "no port", args: "serve --api 127.0.0.1:99999", want: `--api: "127.0.0.1:99999" is not an address: want HOST:PORT`},
		{name: "no proxy", args: "serve --trusted-proxy lb", want: "--trusted-proxy: want an address like"},
		{name: "identity beyond loopback", args: "serve --listen 0.0.0.0:0", want: "--listen is 0.0.0.0:0, which is not loopback, and with --auth none"},
		{name: "identity on all addresses", args: "serve --listen :0", want: "is not loopback"},
		{name: "bad mode", args: "serve --listen unix:/nowhere?mode=rw", want: `--listen: mode "rw" of a Unix socket`},
		{name: "unknown setting of a socket", args: "serve --api unix:/nowhere?perm=0600", want: `--api: "unix:/nowhere?perm=0600" has the unknown setting "perm"`},
		{name: "bad path", args: "serve --path ws", want: `--path is "ws": want a path that begins with /`},
		{name: "path with a query", args: "serve --path /ws?a=b", want: `--path is "/ws?a=b"`},
		{name: "one complaint about a path", args: "serve --path ws", want: "fanfare: --path is \"ws\": want a path that begins with / and has no query\n"},
		{name: "empty path", args: "serve --path=", want: "--path has an empty value"},
		{name: "path that is not clean", args: "serve --path /a/../b", want: `--path is "/a/../b": want it without //, . and .., which is "/b"`},
		{name: "path with two slashes", args: "serve --path //ws", want: `which is "/ws"`},
		{name: "path that is not ASCII", args: "serve --path /ü", want: "want it percent-encoded"},
		{name: "path with half an escape", args: "serve --path /%zz", want: "want it percent-encoded"},
		{name: "path of server-sent events", args: "serve --path /x/sse", want: "--path is /x/sse, where server-sent events are: want another path, or --no-sse"},
		{name: "path of the echo endpoint", args: "serve --path /echo", want: "--path is /echo, where the echo endpoint is: want another path, or --echo=false"},
		{name: "insecure on loopback", args: "serve --insecure-identity", want: "--insecure-identity has no effect here: it needs --listen with an address that is not loopback"},
		{name: "insecure on a socket", args: "serve --listen unix:/nowhere --insecure-identity", want: "--insecure-identity has no effect here"},
		{name: "minutes or months", args: "serve --inbox-age 3M", want: "write m for minutes, and months as days"},
		{name: "no number", args: "serve --workers many", want: `--workers: want a whole number like 100, not "many"`},
		{name: "empty number", args: "serve --workers=", want: `--workers: want a whole number like 100, not ""`},
		{name: "number that is too long", args: "serve --max-connections 99999999999999999999", want: "--max-connections: want a whole number"},
		{name: "message size", args: "serve --max-message 10TiB", want: "--max-message is 10995116277760: want 1 to 1073741824"},
		{name: "log level in between", args: "serve --log-level info+2", want: "want debug, info, warn or error"},
		{name: "network with an address", args: "serve --trusted-proxy 10.0.0.1/8", want: "10.0.0.1/8 is an address of the network 10.0.0.0/8"},
		{name: "empty list", args: "serve --allow-origin=", want: "--allow-origin has an empty value: leave it out for the default"},
		{name: "empty proxy", args: "serve --trusted-proxy=", want: "--trusted-proxy has an empty value"},
		{name: "empty file name", args: "serve --api-key-file=", want: "--api-key-file has an empty value"},
		{name: "empty value in the file", args: "serve --config " + file("emptyvalue", `{"nats": ""}`), want: "--nats has an empty value"},
		{name: "empty element in the file", args: "serve --config " + file("emptyelement", `{"durable-topic": ["a", ""]}`), want: "--durable-topic: want a list of strings that are not empty"},
		{name: "empty config", args: "serve --config=", want: "fanfare: --config has an empty value"},
		{name: "endless config", args: "serve --config /dev/zero", want: "--config: longer than 1048576 bytes"},
		{name: "endless API keys", args: "serve --api-key-file /dev/zero", want: "--api-key-file: /dev/zero is longer than 1048576 bytes"},
		{name: "endless token keys", args: "serve --auth jwt --jwt-key-file /dev/zero", want: "--jwt-key-file: /dev/zero: longer than"},
		{name: "one address twice", args: "serve --listen 127.0.0.1:1 --api 127.0.0.1:1", want: "--listen and --api are both 127.0.0.1:1"},
		{name: "path of a socket", args: "serve --listen unix:/" + strings.Repeat("x", 200), want: "has 201 bytes: want at most"},
		{name: "flush too often", args: "serve --inbox-sync 1ns", want: "--inbox-sync: want a duration like 1s, from 10ms to 1h, or always"},
		{name: "client without a port", args: "push --api 127.0.0.1 alice x", want: `--api: "127.0.0.1" is not an address`},
		{name: "client without a socket", args: "push --api unix: alice x", want: `--api: "unix:" has no path`},
		{name: "client with an empty key file", args: "push --api-key-file= alice x", want: "--api-key-file has an empty value"},
		{name: "client without time", args: "push --timeout 0s alice x", want: "--timeout is 0s: want more than 0s"},
		{name: "negative drain delay", args: "serve --drain-delay=-1s", want: "--drain-delay is -1s: want 0s to 1h"},
		{name: "leeway", args: "serve --auth jwt --jwt-key-file x --jwt-leeway 2h", want: "--jwt-leeway is 2h0m0s: want 0s to 1h"},
		{name: "tickets without authentication", args: "serve --resume-tickets x", want: "--resume-tickets has no effect here: it needs --auth jwt or --auth hook"},
		{name: "age without tickets", args: "serve --auth jwt --resume-ticket-age 2h", want: "--resume-ticket-age has no effect here: it needs --resume-tickets"},
		{name: "short key of tickets", args: "serve --auth jwt --jwt-key-file " + file("jwt", strings.Repeat("k", 32)) + " --resume-tickets " + file("shortkey", "0123456789"), want: "--resume-tickets has 10 bytes in its key 1: want at least 32"},
		{name: "age of tickets", args: "serve --auth jwt --jwt-key-file " + file("jwt", strings.Repeat("k", 32)) + " --resume-tickets " + file("ticketkey", strings.Repeat("k", 32)) + " --resume-ticket-age 9999h", want: "--resume-ticket-age is 9999h0m0s: want 1s to 720h0m0s"},
		{name: "sessions", args: "serve --sessions-full close-all", want: "--sessions-full must be one of"},
		{name: "compression level without compression", args: "serve --compression-level 9", want: "--compression-level has no effect here: it needs --compression"},
		{name: "compression switched off", args: "serve --compression=false --compression-min 9", want: "--compression-min has no effect here"},
		{name: "compression ratio in the environment", args: "serve", env: "FANFARE_COMPRESSION_RATIO=9", want: "--compression-ratio has no effect here"},
		{name: "compression in the config file", args: "serve --config " + file("noeffect", `{"compression-context": 9}`), want: "--compression-context has no effect here"},
		{name: "push from the console without a key", args: "serve --console-push", want: "--console-push has no effect here: it needs the console, and --api-key-file"},
		{name: "credentials without NATS", args: "serve --nats-creds x", want: "--nats-creds has no effect here: it needs --nats"},
		{name: "name without NATS", args: "serve --node-name x", want: "--node-name has no effect here: it needs --nats"},
		{name: "inbox without a store", args: "serve --data-dir none --inbox-age 7d", want: "--inbox-age has no effect here: it needs a store"},
		{name: "acknowledgements without a store", args: "serve --data-dir none --plain-ack none", want: "--plain-ack has no effect here"},
		{name: "readiness without a store", args: "serve --data-dir none --ready-needs-store", want: "--ready-needs-store has no effect here"},
		{name: "flush of NATS", args: "serve --nats x --inbox-sync 2s", want: "--inbox-sync has no effect here: it needs the store in --data-dir"},
		{name: "loss in NATS", args: "serve --nats x --inbox-accept-loss", want: "--inbox-accept-loss has no effect here"},
		{name: "insecure with tokens", args: "serve --auth jwt --jwt-key-file x --insecure-identity", want: "--insecure-identity has no effect here"},
		{name: "issuer of no token", args: "serve --auth jwt --jwks https://a.example/k,issuer=us,audience=a --jwt-issuer me", want: "--jwt-issuer has no effect here: it needs --jwt-key-file, or a --jwks without issuer="},
		{name: "audience of no token", args: "serve --auth jwt --jwks https://a.example/k,issuer=us,audience=a --jwt-audience a", want: "--jwt-audience has no effect here: it needs --jwt-key-file, or a --jwks without audience="},
		{name: "authority of no webhook", args: "serve --webhook http://127.0.0.1:1/ --webhook-secret-file x --webhook-ca x", want: "--webhook-ca has no effect here: it needs a --webhook with https"},
		{name: "positions without a store", args: "serve --data-dir none --positions-per-user 5", want: "--positions-per-user has no effect here: it needs a store"},
		{name: "positions without durable topics", args: "serve --positions-per-ip 5", want: "--positions-per-ip has no effect here: it needs --durable-topic"},
		{name: "connections of an address of a socket", args: "serve --listen unix:/nowhere --connections-per-ip 5", want: "--connections-per-ip has no effect here: it needs --listen HOST:PORT"},
		{name: "handshakes of an address of a socket", args: "serve --listen unix:/nowhere --handshakes-per-ip 5", want: "--handshakes-per-ip has no effect here: it needs --listen HOST:PORT"},
		{name: "console in the place of the endpoint", args: "serve --path / --console", want: "--console has no effect here: it needs a --path that does not end with /"},
		{name: "proxy of a socket", args: "serve --listen unix:/nowhere --trusted-proxy 10.0.0.1", want: "--trusted-proxy has no effect here"},
		{name: "inbox limit", args: "serve --data-dir x --inbox-disk 1K", want: "fanfare: --inbox-disk is 1024: want 1048576 to"},
		{name: "several inbox limits", args: "serve --data-dir x --inbox-disk 1K --inbox-messages 2000000000", want: "--inbox-messages is 2000000000: want 1 to 1073741824; --inbox-disk is 1024"},
		{name: "policies that exclude each other", args: "serve --data-dir x --inbox-full reject --inbox-disk-full drop-oldest", want: "--inbox-full reject does not go with --inbox-disk-full drop-oldest"},
		{name: "flush", args: "serve --inbox-sync never", want: "--inbox-sync: want a duration like 1s, from 10ms to 1h, or always"},
		{name: "NATS of another kind", args: "serve --nats http://a", want: `--nats "http://a" has an unknown scheme`},
		{name: "password of NATS", args: "serve --nats nats://u:pa:ss^%w@a:b", want: "--nats \"nats://u:xxxxx@"},
		{name: "replicas", args: "serve --nats a --nats-replicas 9", want: "--nats-replicas is 9: want 1 to 5"},
		{name: "certificate without its key", args: "serve --nats a --nats-cert x", want: "--nats-cert and --nats-key belong together"},
		{name: "node name", args: "serve --nats 127.0.0.1:1 --node-name a/b", want: `--node-name is "a/b"`},
		{name: "a key twice", args: "serve --config " + file("twice", "{\"pprof\": true,\n\"listen\": \"127.0.0.1:0\",\n\"pprof\": false}"), want: `--config: the key "pprof" is there more than once, again in line 3`},
		{name: "config is null", args: "serve --config " + file("null", "null"), want: "--config: want one JSON object"},
		{name: "config is not UTF-8", args: "serve --config " + file("utf8", "{\"listen\": \"\xff\"}"), want: "--config: invalid UTF-8"},
		{name: "list with null", args: "serve --config " + file("nulls", `{"allow-origin": [null]}`), want: "--allow-origin: want a list of strings"},
		{name: "jwt without a key", args: "serve --auth jwt", want: "--auth jwt needs --jwt-key-file"},
		{name: "jwt key without jwt", args: "serve --jwt-key-file x", want: "--jwt-key-file has no effect here: it needs --auth jwt"},
		{name: "jwt issuer without jwt", args: "serve --jwt-issuer x", want: "--jwt-issuer has no effect here"},
		{name: "no jwt key file", args: "serve --auth jwt --jwt-key-file " + filepath.Join(dir, "none"), want: "--jwt-key-file: open"},
		{name: "short jwt secret", args: "serve --auth jwt --jwt-key-file " + file("shortjwt", "secret"), want: "secret of at least 32 bytes"},
		{name: "who names the user", args: "serve --auth ldap", want: "--auth must be one of"},
		{name: "API without a key", args: "serve --api :0", want: "--api is :0, which is not loopback: give --api-key-file"},
		{name: "no key file", args: "serve --api-key-file " + filepath.Join(dir, "none"), want: "no such file"},
		{name: "empty key file", args: "serve --api-key-file " + file("empty", "# nothing\n\n"), want: "has no key"},
		{name: "short key", args: "serve --api-key-file " + file("short", "secret\n"), want: "--api-key-file has a key of 6 bytes: want at least 16"},
		{name: "durable topics without a store", args: "serve --data-dir none --durable-topic a", want: "--durable-topic has no effect here: it needs a store"},
		{name: "two stores", args: "serve --data-dir x --nats nats://x", want: "--data-dir and --nats exclude each other"},
		{name: "environment", args: "serve", env: "FANFARE_PING_INTERVAL=soon", want: "FANFARE_PING_INTERVAL"},
		{name: "no config file", args: "serve --config " + filepath.Join(dir, "none"), want: "--config: open"},
		{name: "config file by environment", args: "serve", env: "FANFARE_CONFIG=" + filepath.Join(dir, "none"), want: "--config: open"},
		{name: "config is not JSON", args: "serve --config " + file("a", "listen: x"), want: "--config: invalid character"},
		{name: "config says where", args: "serve --config " + file("h", "{\n\"pprof\": true,\n}"), want: "in line 2"},
		{name: "config is empty", args: "serve --config " + file("i", ""), want: "--config: want one JSON object"},
		{name: "config is a list", args: "serve --config " + file("j", "[1]"), want: "--config: want one JSON object"},
		{name: "config is incomplete", args: "serve --config " + file("k", `{"pprof"`), want: "--config: want one JSON object"},
		{name: "config has more", args: "serve --config " + file("b", "{} {}"), want: "--config: invalid character"},
		{name: "unknown key", args: "serve --config " + file("c", `{"listen": "127.0.0.1:0", "lissen": ""}`), want: `--config: unknown key "lissen"`},
		{name: "config of a config", args: "serve --config " + file("d", `{"config": "e"}`), want: `--config: unknown key "config"`},
		{name: "wrong type", args: "serve --config " + file("e", `{"ping-interval": 25}`), want: "--ping-interval"},
		{name: "object", args: "serve --config " + file("f", `{"listen": {}}`), want: "--listen: want a string"},
		{name: "list of numbers", args: "serve --config " + file("g", `{"allow-origin": [1]}`), want: "--allow-origin: want a list of strings"},
		{name: "push without a user", args: "push", want: `"<name>"`},
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
