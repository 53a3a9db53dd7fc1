package settings

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// alwaysEffective are the flags that have an effect whatever else is given. A flag with a wrong
// partner that is an error in itself, such as --tls-key without --tls-cert, is one of them.
const alwaysEffective = "config listen api path sse echo pprof auth allow-origin allow-query api-key-file " +
	"tls-cert tls-key revocation-age max-connections handshake-rate sessions-per-user sessions-full " +
	"topics-per-session max-message max-payload max-message-rate max-byte-rate max-header handshake-timeout compression " +
	"ping-interval ping-timeout queue-bytes user-full topic-full data-dir nats message-hook message-topic webhook presence-topic pusher-apps " +
	"drain-delay drain-rate drain-spread drain-timeout close-timeout transport workers control upgrade-timeout log-format log-level"

// TestEffectOfEveryFlag: a new flag has a rule, or is known to need none.
func TestEffectOfEveryFlag(t *testing.T) {
	always := strings.Fields(alwaysEffective)
	rules := new(Serve).effectRules()
	flags := map[string]bool{}
	for _, f := range flagFields {
		name := flagName(f)
		flags[name] = true
		ruled := slices.ContainsFunc(rules, func(r effectRule) bool { return r.concerns(name) })
		if free := slices.Contains(always, name); ruled == free {
			t.Errorf("--%s has a rule: %t, is always effective: %t: want one of them", name, ruled, free)
		}
	}
	for _, name := range always {
		if !flags[name] {
			t.Errorf("--%s is not a flag", name)
		}
	}
	for _, r := range rules {
		for name := range strings.FieldsSeq(r.flags) {
			concerned := slices.ContainsFunc(flagFields, func(f reflect.StructField) bool { return r.concerns(flagName(f)) })
			if !concerned || !strings.HasSuffix(name, "*") && !flags[name] {
				t.Errorf("%s is not a flag", name)
			}
		}
	}
}
