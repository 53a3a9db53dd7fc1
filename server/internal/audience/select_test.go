package audience

import (
	"testing"

	"fanfare/server/node"
)

func TestSelect(t *testing.T) {
	to := node.Audience{Everyone: true, ExcludeUsers: []string{"a"}, ExcludeSessions: []string{"n1/7", "n2/8", "9"}}
	for _, test := range []struct {
		self, user string
		id         uint64
		excluded   bool
	}{
		{"n1", "a", 1, true}, {"n1", "b", 1, false}, {"n1", "b", 7, true}, {"n1", "b", 8, false}, {"n2", "b", 8, true}, {"n1", "b", 9, false}, {"", "b", 9, true},
	} {
		if got := Select(&to, test.self).Excludes(test.user, test.id); got != test.excluded {
			t.Errorf("node %q excludes %s/%d: %t, want %t", test.self, test.user, test.id, got, test.excluded)
		}
	}
	if sel := Select(&node.Audience{Everyone: true}, "n1"); sel != nil {
		t.Errorf("an audience that leaves out nothing has the selection %+v", sel)
	}
}

func TestTargetOf(t *testing.T) {
	for _, test := range []struct {
		to   node.Audience
		want node.Target
	}{
		{node.Audience{Users: []string{"a"}}, node.Target{User: "a"}},
		{node.Audience{Topics: []string{"t"}}, node.Target{Topic: "t"}},
		{node.Audience{Users: []string{"a"}, Topics: []string{"t"}}, node.Target{}},
		{node.Audience{Everyone: true}, node.Target{}},
	} {
		if got := TargetOf(&test.to); got != test.want {
			t.Errorf("%+v: target %+v, want %+v", test.to, got, test.want)
		}
	}
}
