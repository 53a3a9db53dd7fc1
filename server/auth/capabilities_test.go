package auth

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"fanfare/server"
)

// TestCapabilityClaims: claims say what a client may do, and a claim of another type is an
// error, not less or more.
func TestCapabilityClaims(t *testing.T) {
	keys := keysFor(t, "HS256")
	for _, tt := range []struct {
		name, claim string
		value       any
		want        server.Identity
		problem     string
	}{
		{"none", "x", 1, server.Identity{}, ""},
		{"subscribe", "subscribe", []string{"chat.*"}, server.Identity{MaySubscribe: []string{"chat.*"}}, ""},
		{"publish", "publish", []string{"chat.*", "x"}, server.Identity{MayPublish: []string{"chat.*", "x"}}, ""},
		{"presence", "presence", []string{"*"}, server.Identity{MayReadPresence: []string{"*"}}, ""},
		{"limits", "limits", map[string]any{"messages": 5, "topics": 2}, server.Identity{Limits: server.SessionLimits{Messages: 5, Topics: 2}}, ""},
		{"publish is a string", "publish", "chat", server.Identity{}, "the token's claim publish is a string: want a list of strings"},
		{"presence has a number", "presence", []any{1}, server.Identity{}, "claim presence has an element that is a number"},
		{"limits is a number", "limits", 5, server.Identity{}, "the token's claim limits is 5, a number: want an object with messages and topics, numbers from 1"},
		{"limits is null", "limits", nil, server.Identity{}, "the token's claim limits is null: want an object"},
		{"misspelled limit", "limits", map[string]any{"mesages": 5}, server.Identity{}, "the token's claim limits.mesages is unknown: want messages or topics"},
		{"limit of zero", "limits", map[string]any{"messages": 0}, server.Identity{}, "the token's claim limits.messages is 0, a number: want a whole number from 1 to 2147483647"},
		{"negative limit", "limits", map[string]any{"topics": -5}, server.Identity{}, "the token's claim limits.topics is -5, a number: want a whole number from 1"},
		{"limit beyond 32 bits", "limits", map[string]any{"topics": int64(1 << 31)}, server.Identity{}, "the token's claim limits.topics is 2147483648, a number"},
		{"limit beyond 64 bits", "limits", map[string]any{"topics": json.RawMessage("1e300")}, server.Identity{}, "the token's claim limits.topics is 1e300, a number"},
		{"fraction", "limits", map[string]any{"topics": 1.5}, server.Identity{}, "the token's claim limits.topics is 1.5, a number"},
		{"limit is a string", "limits", map[string]any{"topics": 1, "messages": "5"}, server.Identity{}, `the token's claim limits.messages is "5", a string: want a whole number`},
		{"limit is a long string", "limits", map[string]any{"messages": strings.Repeat("x", 1000)}, server.Identity{}, "the token's claim limits.messages is a string: want a whole number"},
		{"limit is a list", "limits", map[string]any{"messages": []int{5}}, server.Identity{}, "the token's claim limits.messages is a list: want a whole number"},
		{"limit is a boolean", "limits", map[string]any{"messages": true}, server.Identity{}, "the token's claim limits.messages is true, a boolean: want a whole number"},
		{"limits is a string", "limits", "5", server.Identity{}, `the token's claim limits is "5", a string: want an object`},
		{"misspelled limit with a long name", "limits", map[string]any{strings.Repeat("m", 100): 5}, server.Identity{}, "the token's claim limits." + strings.Repeat("m", 40) + " is unknown"},
		{"labels", "labels", map[string]any{"platform": "ios"}, server.Identity{Labels: map[string]string{"platform": "ios"}}, ""},
		{"labels are a list", "labels", []string{"ios"}, server.Identity{}, "the token's claim labels is a list: want an object with strings"},
		{"label is a number", "labels", map[string]any{"version": 5}, server.Identity{}, "the token's claim labels has an element that is a number: want an object with strings"},
		{"label is null", "labels", map[string]any{"version": nil}, server.Identity{}, "the token's claim labels has an element that is null"},
		{"subscribe in another case", "Subscribe", []string{"a"}, server.Identity{}, ""},
	} {
		id, err := verified(keys, sign("HS256", signers["HS256"][0], func(_, c map[string]any) { c[tt.claim] = tt.value }))
		checkRejection(t, err, 401, tt.problem)
		tt.want.Issued = time.Unix(0, 0)   // the token has no iat
		tt.want.ValidUntil = id.ValidUntil // see TestValidUntil
		if tt.want.User = "alice"; err == nil && !reflect.DeepEqual(id, tt.want) {
			t.Errorf("%s: %+v, want %+v", tt.name, id, tt.want)
		}
	}
	// With ?topic= a client asks for what either list allows.
	v := newVerifier(keys)
	token := sign("HS256", signers["HS256"][0], func(_, c map[string]any) {
		c["topics"], c["subscribe"], c["publish"] = []string{"news", "a.*"}, []string{"chat.*"}, []string{"secret"}
	})
	for asked, want := range map[string]string{"news": "", "a.1": "", "chat.1": "", "secret": "do not allow", "chat": "do not allow"} {
		_, err := v.verify(token, []string{asked})
		checkRejection(t, err, 403, want)
	}
	if id, err := v.verify(token, nil); err != nil || !reflect.DeepEqual(id.Topics, []string{"news"}) || !reflect.DeepEqual(id.MaySubscribe, []string{"news", "a.*", "chat.*"}) {
		t.Errorf("%+v, %v", id, err)
	}
}
