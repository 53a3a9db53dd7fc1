package fault

import (
	"strconv"
	"strings"
	"testing"
)

// TestEventLog: the check finds each kind of wrong report, and repeated events are none.
func TestEventLog(t *testing.T) {
	online := map[string]bool{"a": true, "b": false, "steady0": true}
	for name, tt := range map[string]struct {
		events  string // a user for online, -user for offline, =user for the event before once more
		matches string // text of the error; empty: none
		check   string
	}{
		"right":         {"a b -b steady0", "", ""},
		"repeated":      {"a b -b =b steady0", "", ""},
		"empty":         {"", "a is online: true", ""},
		"not reported":  {"a steady0 b", "b is online: false", ""},
		"still offline": {"a steady0 -a", "a is online: true", ""},
		"twice":         {"a b a -b steady0", "", "event 2: user.online a twice"},
		"offline twice": {"a b -b -b steady0", "", "event 3: user.offline b twice"},
		"never online":  {"-b a steady0", "", "who never was online"},
		"flapping":      {"a steady0 -steady0 steady0", "", "who never left"},
		"unknown user":  {"a steady0 c", "", `event 2: user.online "c"`},
		"no user":       {"a steady0 -", "", `event 2: user.offline ""`},
	} {
		l := &eventLog{seen: make(map[string]bool)}
		for i, word := range strings.Fields(tt.events) {
			e := presenceEvent{ID: strconv.Itoa(i), Type: typeOnline}
			switch {
			case word[0] == '=':
				e.ID, e.Type, e.User = strconv.Itoa(i-1), typeOffline, word[1:]
			case word[0] == '-':
				e.Type, e.User = typeOffline, word[1:]
			default:
				e.User = word
			}
			l.record(e)
		}
		for what, got := range map[string]struct {
			err  error
			want string
		}{"matches": {l.matches(online), tt.matches}, "check": {l.check(online, true), tt.check}} {
			if (got.err == nil) != (got.want == "") || got.err != nil && !strings.Contains(got.err.Error(), got.want) {
				t.Errorf("%s: %s returns %v, want %q", name, what, got.err, got.want)
			}
		}
	}
}
