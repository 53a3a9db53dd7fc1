package settings

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"fanfare/server/listen"
)

// given are the flags that the user has set, on the command line, in the environment or
// in the config file: false for a switch that is set to off.
type given map[string]bool

// Given reports whether the user has set a flag, and not to off.
func (cmd *Serve) Given(flag string) bool { return cmd.given[flag] }

// Decided reports whether the user has set a switch, to true or false.
func (cmd *Serve) Decided(flag string) bool {
	_, ok := cmd.given[flag]
	return ok
}

func givenFlags(ctx *kong.Context) given {
	g := make(given)
	note := func(f *kong.Flag) {
		on, isSwitch := ctx.FlagValue(f).(bool)
		g[f.Name] = on || !isSwitch
	}
	for _, p := range ctx.Path {
		if p.Flag != nil {
			note(p.Flag)
		}
		for _, f := range p.Flags {
			for _, env := range f.Envs {
				if os.Getenv(env) != "" {
					note(f)
				}
			}
		}
	}
	return g
}

// checkSwitches rejects a command line that sets a switch both on and off.
func checkSwitches(ctx *kong.Context, args []string) error {
	for _, f := range ctx.Flags() {
		if f.Tag.Negatable != "" && slices.Contains(args, "--no-"+f.Name) &&
			slices.ContainsFunc(args, func(arg string) bool { name, _, _ := strings.Cut(arg, "="); return name == "--"+f.Name }) {
			return fmt.Errorf("--%[1]s and --no-%[1]s contradict each other: give one", f.Name)
		}
	}
	return nil
}

// checkEmpty rejects flags with an empty value, which would count as not given. A script
// whose variable is unset by mistake writes --api-key-file=.
func checkEmpty(ctx *kong.Context, g given) error {
	for _, f := range ctx.Flags() {
		v := reflect.ValueOf(ctx.FlagValue(f))
		if !g[f.Name] || v.Kind() != reflect.String && v.Kind() != reflect.Slice {
			continue
		}
		empty := v.Len() == 0
		for i := 0; v.Kind() == reflect.Slice && i < v.Len(); i++ {
			empty = empty || v.Index(i).IsZero()
		}
		if empty {
			return fmt.Errorf("--%s has an empty value: leave it out for the default", f.Name)
		}
	}
	return nil
}

// effectRule says what flags need to have an effect.
type effectRule struct {
	flags string // names, or prefixes that end with "*"
	holds bool
	wants string
}

// concerns reports whether the rule is about a flag.
func (r *effectRule) concerns(name string) bool {
	for flag := range strings.FieldsSeq(r.flags) {
		if prefix, many := strings.CutSuffix(flag, "*"); name == flag || many && strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// effectRules are the rules for all flags that need others. TestEffectOfEveryFlag lists the
// flags that do not.
func (cmd *Serve) effectRules() []effectRule {
	stored := cmd.NATS != "" || cmd.DataDir != noDataDir
	addressed := !strings.HasPrefix(cmd.Listen, "unix:")
	return []effectRule{
		{"compression-*", cmd.Compression, "--compression"},
		{"tls-min tls-client-ca api-tls-shared", cmd.PublicTLS(), "--tls-cert or --acme-domain"},
		{"tls-ocsp", len(cmd.TLSCert) > 0, "--tls-cert"},
		{"acme-agree acme-email acme-ca acme-ca-root acme-http", len(cmd.ACMEDomain) > 0, "--acme-domain"},
		{"acme-domain", addressed, "--listen HOST:PORT, which the authority reaches"},
		{"api-tls-min api-tls-client-ca", cmd.APITLS(), "--api-tls-cert or --api-tls-shared"},
		{"api-tls-ocsp", len(cmd.APITLSCert) > 0, "--api-tls-cert"},
		{"api-tls-*", !strings.HasPrefix(cmd.API, "unix:"), "--api HOST:PORT: a Unix socket is served without TLS"},
		{"jwt-* jwks", cmd.Auth == "jwt", "--auth jwt"},
		{"jwt-issuer", cmd.JWTKeyFile != "" || slices.ContainsFunc(cmd.JWKS, func(k keySet) bool { return k.issuer == "" }), "--jwt-key-file, or a --jwks without issuer="},
		{"jwt-audience", cmd.JWTKeyFile != "" || slices.ContainsFunc(cmd.JWKS, func(k keySet) bool { return len(k.audiences) == 0 }), "--jwt-key-file, or a --jwks without audience="},
		{"client-publish", cmd.Auth == "none", "--auth none: with jwt and hook, publish in the token or the answer names topics"},
		{"connect-hook*", cmd.Auth == "hook", "--auth hook"},
		{"message-hook-*", cmd.MessageHook != "", "--message-hook"},
		{"message-subject", cmd.NATS != "", "--nats"},
		{"message-subject-*", cmd.MessageSubject != "", "--message-subject"},
		{"message-concurrency message-queue", cmd.MessageHook+cmd.MessageSubject+cmd.MessageTopic != "", "--message-hook, --message-subject or --message-topic"},
		{"revocation-entries", cmd.RevocationAge != 0, "--revocation-age"},
		{"resume-tickets", cmd.Auth != "none", "--auth jwt or --auth hook: the query needs no ticket"},
		{"resume-ticket-age", cmd.ResumeTickets != "", "--resume-tickets"},
		{"insecure-identity", cmd.Auth == "none", "--auth none"},
		{"insecure-identity", !listen.IsLoopback(cmd.Listen), "--listen with an address that is not loopback"},
		{"nats-*", cmd.NATS != "", "--nats"},
		{"node-name", cmd.NATS != "" || len(cmd.Webhook) > 0, "--nats or --webhook"},
		{"webhook-*", len(cmd.Webhook) > 0, "--webhook"},
		{"webhook-ca", slices.ContainsFunc(cmd.Webhook, func(w hookFlag) bool { return strings.HasPrefix(w.hook.URL, "https:") }), "a --webhook with https"},
		{"offline-grace", len(cmd.Webhook)+len(cmd.PresenceTopic) > 0, "--webhook or --presence-topic"},
		{"inbox-* durable-topic plain-ack ready-needs-store positions-per-user positions-per-ip", stored, "a store: not --data-dir none"},
		{"positions-per-user positions-per-ip", len(cmd.DurableTopic) > 0 || cmd.PusherApps != "", "--durable-topic, or --pusher-apps with durable channels"},
		{"connections-per-ip handshakes-per-ip positions-per-ip", addressed, "--listen HOST:PORT: connections to a Unix socket have no address"},
		{"inbox-sync inbox-accept-loss", cmd.NATS == "", "the store in --data-dir, not --nats"},
		{"console console-push", cmd.Path != cmd.Directory(), "a --path that does not end with /, where the console is"},
		{"console-push", cmd.Console && (cmd.APIKeyFile != "" || os.Getenv(APIKeyEnv) != ""), "the console, and --api-key-file or FANFARE_API_KEY"},
		{"trusted-proxy proxy-protocol", addressed, "--listen HOST:PORT: connections to a Unix socket have no address"},
		{"api-proxy-protocol", !strings.HasPrefix(cmd.API, "unix:"), "--api HOST:PORT: connections to a Unix socket have no address"},
		{"keep", runtime.GOOS == "linux", "Linux"},
		{"keep", cmd.Transport != "goroutine", "--transport epoll or easygo: with goroutine another process cannot go on with a connection"},
		{"keep", !cmd.PublicTLS(), "a public listener without --tls-cert and --acme-domain: sessions with TLS cannot be kept"},
		{"forwarded", len(cmd.TrustedProxy) > 0, "--trusted-proxy"},
	}
}

// checkEffect rejects flags that have no effect in this combination: a user who gives
// them relies on them.
func (cmd *Serve) checkEffect() error {
	for _, rule := range cmd.effectRules() {
		if rule.holds {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(cmd.given)) {
			if cmd.given[name] && rule.concerns(name) {
				return fmt.Errorf("--%s has no effect here: it needs %s", name, rule.wants)
			}
		}
	}
	return cmd.checkKeep()
}

// checkKeep rejects what would be wrong after the death of the server. No process knows then which
// users were there before.
func (cmd *Serve) checkKeep() error {
	for _, other := range []struct {
		flag  string
		given bool
	}{{"webhook", len(cmd.Webhook) > 0}, {"presence-topic", len(cmd.PresenceTopic) > 0}} {
		if cmd.Keep && other.given {
			return fmt.Errorf("--keep cannot be combined with --%s, which would not learn which sessions have ended when the server dies: leave out one of them", other.flag)
		}
	}
	return nil
}
