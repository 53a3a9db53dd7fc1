package webhook

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"fanfare/server"
)

// TestPresence: a user who comes back within the grace period never was offline.
func TestPresence(t *testing.T) {
	const grace = 10 * time.Second
	for _, tt := range []struct {
		name  string
		steps string // + online, - offline, each followed by its second; of one user
		want  []string
	}{
		{"stays", "+0", []string{"0s user.online"}},
		{"leaves", "+0 -5", []string{"0s user.online", "15s user.offline"}},
		{"comes back in time", "+0 -5 +14", []string{"0s user.online"}},
		{"comes back too late", "+0 -5 +16", []string{"0s user.online", "15s user.offline", "16s user.online"}},
		{"flaps", "+0 -1 +2 -3 +4 -5", []string{"0s user.online", "15s user.offline"}},
		{"flaps and stays", "+0 -1 +2 -3 +4", []string{"0s user.online"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, began := new(receiver), time.Now()
				s := start(t, r, Config{OfflineGrace: grace})
				for step := range strings.FieldsSeq(tt.steps) {
					at, _ := time.ParseDuration(step[1:] + "s")
					time.Sleep(time.Until(began.Add(at)))
					if step[0] == '+' {
						s.Observe(online("alice"))
					} else {
						s.Observe(offline("alice"))
					}
				}
				time.Sleep(time.Minute)
				var got []string
				for _, req := range r.all() {
					for _, e := range req.Data.Events {
						at, err := time.Parse(time.RFC3339Nano, e["time"].(string))
						if err != nil {
							t.Fatal(err)
						}
						got = append(got, at.Sub(began).Round(time.Second).String()+" "+e["type"].(string))
					}
				}
				if !slices.Equal(got, tt.want) {
					t.Errorf("%q, want %q", got, tt.want)
				}
				left := make(chan int)
				s.commands <- func() { left <- len(s.presence.leaving) + len(s.presence.queue) }
				if n := <-left; n != 0 {
					t.Errorf("memory is kept for %d users", n)
				}
				stop(s)
			})
		})
	}
}

// TestOnlineFile: what the file says after each way to end.
func TestOnlineFile(t *testing.T) {
	for _, tt := range []struct{ text, users, pending, dropped string }{
		{"", "", "", ""},
		{"+a\n+b b\n=\n", "a,b b", "", ""},
		{"+a\n=\n-a\n=\n", "", "", ""},
		{"+a\n", "a", "a", ""},            // its event may not be stored
		{"+a\n=\n-a\n", "a", "", ""},      // likewise: it is due again
		{"+a\n=\n+b", "a", "", ""},        // a line is incomplete
		{"+a\n=\n-a\n+a\n", "a", "a", ""}, // the last one counts
		{"!h 5\n=\n", "", "", "5"},
		{"!h 5\n=\n!h 0\n=\n", "", "", ""},
		{"!h 5\n=\n!h x\n?\n=\n", "", "", ""},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "online"), []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, again := range []string{"", " again"} { // the file was written anew
			o, st, err := openOnline(dir)
			if err != nil {
				t.Fatal(err)
			}
			dropped := ""
			if st.dropped["h"] > 0 {
				dropped = "5"
			}
			if users, pending := strings.Join(st.sortedUsers(), ","), strings.Join(st.pending, ","); users != tt.users || pending != tt.pending || dropped != tt.dropped {
				t.Errorf("%q%s: users %q, pending %q, dropped %q", tt.text, again, users, pending, dropped)
			}
			o.close()
		}
	}
}

// TestOnlineFileCompacts: the file does not grow with users who come and go.
func TestOnlineFileCompacts(t *testing.T) {
	o, _, err := openOnline(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer o.close()
	line := strings.Repeat("u", 200)
	for range 20_000 { // 8 MB
		if err := o.write([]byte("+" + line + "\n-" + line + "\n=\n")); err != nil {
			t.Fatal(err)
		}
		if err := o.compact(); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.write([]byte("+z\n=\n")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(o.path); err != nil || info.Size() > 2*compactAbove || info.Size() != o.size {
		t.Errorf("%d bytes, noted %d: %v", info.Size(), o.size, err)
	}
	if st, err := o.read(); err != nil || len(st.users) != 1 {
		t.Errorf("%v %v", st, err)
	}
}

// TestPresenceAfterCrash: users who were online before a crash are reported as offline after
// the grace period, unless they come back, and each once.
func TestPresenceAfterCrash(t *testing.T) {
	var later atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	dir, r := t.TempDir(), new(receiver)
	cfg := Config{Dir: dir, OfflineGrace: time.Hour}
	s := startAt(t, r, cfg, now)
	for _, user := range []string{"a", "b"} {
		s.Observe(online(user))
	}
	until(t, "requests", func() bool { return len(r.events(0)) == 2 })
	stopIdle(t, s) // nothing says that their sessions have ended
	s = startAt(t, r, cfg, now)
	s.Observe(online("b"))
	until(t, "online", func() bool { s.intake.mu.Lock(); defer s.intake.mu.Unlock(); return len(s.intake.events) == 0 })
	later.Store(int64(2 * time.Hour))
	s.intake.wake()
	until(t, "offline", func() bool { return len(r.events(0)) == 3 })
	if got := r.events(0)[2:]; !slices.Equal(got, []string{"user.offline a"}) {
		t.Errorf("%v", got)
	}
	stopIdle(t, s)
	cfg.OfflineGrace = 0
	s = startAt(t, r, cfg, now)
	until(t, "offline", func() bool { return len(r.events(0)) == 4 })
	if got := r.events(0)[3:]; !slices.Equal(got, []string{"user.offline b"}) {
		t.Errorf("%v", got)
	}
	stop(s)
	// Without a webhook for them nothing is kept.
	s = start(t, r, Config{Dir: dir, Hooks: []Hook{{URL: "https://app.example.com/", Events: []string{"session.*"}}}})
	if s.Wants(server.UserOnline) {
		t.Error("users are wanted")
	}
	stop(s)
	if _, st, err := openOnline(dir); err != nil || len(st.users) != 0 {
		t.Errorf("users are kept without a webhook that wants them: %v %v", st, err)
	}
}
