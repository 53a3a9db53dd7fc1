package settings

import "testing"

func TestDefaultDataDir(t *testing.T) {
	home := t.TempDir()
	for _, test := range []struct {
		name             string
		state, xdg, home string
		want             string // empty: that of a service
	}{
		{"systemd", "/var/lib/fanfare", "/xdg", home, "/var/lib/fanfare"},
		{"systemd with several", "/var/lib/fanfare:/var/lib/other", "", home, "/var/lib/fanfare"},
		{"XDG", "", "/xdg", home, "/xdg/fanfare"},
		{"XDG that is not absolute", "", "xdg", home, home + "/.local/state/fanfare"},
		{"home", "", "", home, home + "/.local/state/fanfare"},
		{"no home", "", "", "", ""},
		{"home of a service user", "", "", "/nonexistent", ""},
		{"home is the root", "", "", "/", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("STATE_DIRECTORY", test.state)
			t.Setenv("XDG_STATE_HOME", test.xdg)
			t.Setenv("HOME", test.home)
			for root, service := range map[bool]string{true: "/var/lib/fanfare", false: "fanfare-data"} {
				want := test.want
				if want == "" {
					want = service
				}
				if got := defaultDataDirOf(root); got != want {
					t.Errorf("root %t: got %s, want %s", root, got, want)
				}
			}
		})
	}
}
