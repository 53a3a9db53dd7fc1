package settings

import (
	"log/slog"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"fanfare/frame"
	"fanfare/server"
	"fanfare/server/api"
	"fanfare/server/cluster"
	"fanfare/server/inbox"
	"fanfare/server/webhook"
)

// configs are the structs whose fields the flags set, by package.
var configs = map[string][]reflect.Type{
	"server":  {reflect.TypeFor[server.Config](), reflect.TypeFor[server.Endpoint](), reflect.TypeFor[frame.Rules]()},
	"api":     {reflect.TypeFor[api.Config]()},
	"inbox":   {reflect.TypeFor[inbox.Config]()},
	"cluster": {reflect.TypeFor[cluster.Config]()},
	"webhook": {reflect.TypeFor[webhook.Config]()},
}

// goNames returns the names of fields that are words of Go, not of English: two or more
// parts, as in PingInterval.
func goNames() *regexp.Regexp {
	names := make(map[string]bool)
	parts := regexp.MustCompile(`^[A-Z][a-z]+([A-Z][A-Za-z]*)+$`)
	for _, types := range configs {
		for _, t := range types {
			for _, f := range reflect.VisibleFields(t) {
				if parts.MatchString(f.Name) {
					names[f.Name] = true
				}
			}
		}
	}
	return regexp.MustCompile(`\b(` + strings.Join(slices.Sorted(maps.Keys(names)), "|") + `)\b|\bConfig\.|\bEndpoint\.|\bRate\.|\bDeflate\.`)
}

// needs are flags without which others have no effect.
var needs = map[string]string{
	"compression-level": "--compression", "compression-min": "--compression", "compression-ratio": "--compression",
	"compression-context": "--compression", "jwt-leeway": "--auth=jwt --jwt-key-file=/nonexistent",
	"nats-replicas": "--nats=nats://127.0.0.1:1", "nats-creds": "--nats=nats://127.0.0.1:1", "nats-ca": "--nats=nats://127.0.0.1:1",
	"nats-cert": "--nats=nats://127.0.0.1:1 --nats-key=/nonexistent", "nats-key": "--nats=nats://127.0.0.1:1 --nats-cert=/nonexistent",
	"node-name": "--nats=nats://127.0.0.1:1", "tls-client-ca": "--tls-cert=/nonexistent --tls-key=/nonexistent",
	"tls-cert": "--tls-key=/nonexistent", "tls-key": "--tls-cert=/nonexistent", "jwt-key-file": "--auth=jwt",
}

// TestWrongValuesNameTheirFlag gives every flag of serve values that are wrong: the error
// names the flag and no field of a Config.
func TestWrongValuesNameTheirFlag(t *testing.T) {
	if raceEnabled {
		t.Skip("one goroutine reads flags: runs without the race detector")
	}
	names := goNames()
	dir, secret := "--data-dir="+t.TempDir(), signingFile(t)
	for _, f := range flagFields {
		name := flagName(f)
		var values []string
		switch f.Type {
		case reflect.TypeFor[int]():
			values = []string{"-1", "9223372036854775807", "many"}
		case reflect.TypeFor[size]():
			values = []string{"-1", "8388607TiB", "1.5MB"}
		case reflect.TypeFor[time.Duration](), reflect.TypeFor[flush]():
			values = []string{"-1s", "106751d", "soon", "5"}
		default:
			switch name {
			case "listen", "api":
				values = []string{"nonsense", ":99999", "unix:", "0.0.0.0:0"}
			case "auth", "transport", "user-full", "topic-full", "sessions-full", "inbox-full", "inbox-disk-full", "plain-ack", "log-format", "log-level", "tls-min":
				values = []string{"nonsense"}
			case "path":
				values = []string{"nonsense", "/a?b", "/a/../b", "/ü"}
			case "allow-origin", "trusted-proxy", "durable-topic", "presence-topic", "allow-query":
				values = []string{"a=b\x00"}
			case "webhook":
				values = []string{"nonsense", "ftp://a.test", "https://a.test nothing", "http://a.test"}
			case "nats":
				values = []string{"nats://", "http://x", "nats://h:0", "nats://h/p"}
			case "node-name":
				values = []string{"a b"}
			case "tls-cert", "tls-key", "tls-client-ca", "jwt-key-file", "api-key-file", "config", "webhook-secret-file", "webhook-ca":
				values = []string{"/nonexistent/file"}
			}
		}
		for _, v := range values {
			args := append([]string{"serve"}, strings.Fields(needs[name])...)
			if !slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "--nats=") }) && name != "nats" {
				args = append(args, dir)
			}
			if strings.HasPrefix(name, "webhook") || name == "offline-grace" {
				args = append(args, "--webhook=https://a.test", "--webhook-secret-file="+secret)
			}
			args = append(args, "--"+name+"="+v)
			var c cli
			_, err := Parse(&c, args, &c.Serve)
			if err == nil {
				_, err = c.Serve.Plan(slog.New(slog.DiscardHandler))
			}
			switch {
			case err == nil:
				if acceptsAny[name] == "" {
					t.Errorf("%q: accepted", args)
				}
			case names.MatchString(err.Error()):
				t.Errorf("%q: %q has the name of a field, %s", args, err, names.FindString(err.Error()))
			case !strings.Contains(err.Error(), "--"+name) && !strings.HasPrefix(name, "tls-"): // the certificate is read first
				t.Errorf("%q: %q does not name the flag", args, err)
			}
		}
	}
}

// acceptsAny are the flags for which one of the values above is right, and why.
var acceptsAny = map[string]string{
	"compression-min":   "no message is that long",
	"compression-ratio": "a ratio that no message has",
	"drain-timeout":     "a long time",
	"max-byte-rate":     "a high rate",
	"max-message-rate":  "a high rate",
}

// unreachable are the fields without a flag, and why none is needed.
var unreachable = map[string]string{
	"server.Identifiers": "identifiers of the program do not block", "api.MaxConnections": "the default follows from the descriptor limit", "server.OtherDescriptors": "follows from the flags",
	"cluster.Timeout": "the default holds", "inbox.Timeout": "the default holds", "inbox.StopTimeout": "the default holds", "cluster.QueueBytes": "the default holds",
}

// TestFieldsHaveFlags gives every number of every Config a wrong value: the error that the
// package returns has a flag for the field.
func TestFieldsHaveFlags(t *testing.T) {
	validate := map[string]func(reflect.Value) error{
		"server": func(v reflect.Value) error { return v.Addr().Interface().(*server.Config).Validate() },
		"api": func(v reflect.Value) error {
			v.FieldByName("Listen").SetString("127.0.0.1:0")
			return v.Addr().Interface().(*api.Config).Validate()
		},
		"inbox": func(v reflect.Value) error {
			v.FieldByName("Dir").SetString("x")
			return v.Addr().Interface().(*inbox.Config).Validate()
		},
		"cluster": func(v reflect.Value) error {
			v.FieldByName("URL").SetString("nats://127.0.0.1:1")
			return v.Addr().Interface().(*cluster.Config).Validate()
		},
		"webhook": func(v reflect.Value) error {
			v.FieldByName("Node").SetString("x")
			v.FieldByName("Secrets").Set(reflect.ValueOf(make([]webhook.Secret, 1)))
			return v.Addr().Interface().(*webhook.Config).Validate()
		},
	}
	for pkg, check := range validate {
		typ := configs[pkg][0]
		for _, f := range reflect.VisibleFields(typ) {
			if k := f.Type.Kind(); k != reflect.Int && k != reflect.Int64 {
				continue
			}
			for _, wrong := range []int64{math.MinInt32, math.MaxInt64} {
				v := reflect.New(typ).Elem()
				v.FieldByIndex(f.Index).SetInt(wrong)
				err := check(v)
				if err == nil || unreachable[pkg+"."+f.Name] != "" {
					continue
				}
				if text := InFlags(pkg, err).Error(); !strings.Contains(text, "--"+flagOf[pkg+"."+f.Name]) || regexp.MustCompile(`(^|\n)[A-Z]`).MatchString(text) {
					t.Errorf("%s.%s: %q does not name a flag", pkg, f.Name, text)
				}
			}
		}
	}
}

// signingFile writes a secret of webhooks.
func signingFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "webhook")
	if err := os.WriteFile(file, []byte("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
