package fault

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func runNemeses(t *testing.T, o Options) *Report {
	t.Helper()
	p := programs(t)
	o.Fanfare, o.NATS, o.Log = p.Fanfare, p.NATS, t.Logf
	r, err := Run(ctx, o)
	for _, one := range r.Results {
		t.Logf("%+v", *one)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Err(); err != nil {
		t.Error(err)
	}
	return &r
}

// TestFaults is a short run of all faults of a cluster.
func TestFaults(t *testing.T) {
	t.Parallel()
	var names []string
	for _, n := range Nemeses() {
		if n.disturb != nil {
			names = append(names, n.Name)
		}
	}
	runNemeses(t, Options{Only: names, Duration: 8 * time.Second})
}

// TestNemeses is the short form of each nemesis that has servers of its own.
func TestNemeses(t *testing.T) {
	for _, n := range Nemeses() {
		if n.disturb != nil {
			continue
		}
		t.Run(n.Name, func(t *testing.T) {
			t.Parallel()
			r := runNemeses(t, Options{Only: []string{n.Name}, Each: time.Nanosecond}).Results[0]
			bites := map[string]string{"damage": "refusal", "truncate": "refusal", "remove": "refusal", "remove-open": "refusal",
				"cut-ends": "refusal", "backup": "backup",
				"wipe-nats": "epoch", "answering-proxy": "documentation"}
			if how := bites[n.Name]; how != "" && r.Announced[how] == 0 {
				t.Errorf("nothing is lost: announced %v", r.Announced)
			}
			if how := bites[n.Name]; how == "" && len(r.Announced) > 0 {
				t.Errorf("announced %v", r.Announced)
			}
		})
	}
}

func TestFind(t *testing.T) {
	for name, tt := range map[string]struct {
		only []string
		want int
		err  string
	}{
		"all":     {nil, len(Nemeses()), ""},
		"two":     {[]string{"damage", "kill-node"}, 2, ""},
		"unknown": {[]string{"damage", "famine"}, 0, `unknown nemesis "famine"; known are kill-nats, `},
	} {
		found, err := find(tt.only)
		if len(found) != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %d found, %v", name, len(found), err)
		}
	}
	names := Names()
	slices.Sort(names)
	if len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Errorf("a name is used twice: %q", names)
	}
	for _, n := range Nemeses() {
		if n.Help == "" || (n.disturb == nil) == (n.stage == nil && n.own == nil) {
			t.Errorf("%+v", n)
		}
	}
}

// TestReadRefusal: an operator must learn what is missing, from which directory, and what to do.
func TestReadRefusal(t *testing.T) {
	const help = "; restore /data from a backup; --inbox-accept-loss goes on without what is missing"
	for said, want := range map[string]int{
		"damaged: 1 message of 1 user is missing" + help:                                                   1,
		"damaged: 12 messages of 3 users and 1 topic are missing, the newest stored at 2024" + help:        12,
		"damaged: 2 messages of 1 user are missing; 3 acknowledged positions of 2 users missing" + help:    2,
		"damaged: 3 acknowledged positions of 2 users missing" + help:                                      0,
		"damaged: no account, so that it cannot be told whether messages are missing, and for whom" + help: -1,
		"damaged: messages are missing: stream S has 3 up to offset 4, expected 5 up to 6" + help:          -1,
	} {
		if n, err := readRefusal(said, "/data"); n != want || err != nil {
			t.Errorf("%s: %d, %v", said, n, err)
		}
	}
	for _, said := range []string{"", "damaged: messages are missing", "damaged: something is missing" + help, "3 messages of 1 user are missing" + help} {
		if n, err := readRefusal(said, "/data"); err == nil {
			t.Errorf("%q is understood as %d", said, n)
		}
	}
}

// TestAnsweringProxy: the proxy answers pings while it holds messages, loses them when it fails, and works again.
func TestAnsweringProxy(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir()+"/data")
	p, err := newAnswering(s.net.home().ip, s.listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	s.listen = p.listen
	messages := 0
	push := func() stored {
		messages++
		st, err := s.push(ctx, "u", text("u", messages), text("u", messages))
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	read := func(conn *websocket.Conn, want string) {
		t.Helper()
		late, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if _, b, err := conn.Read(late); err != nil || string(b) != want {
			t.Errorf("received %q, %v; want %q", b, err, want)
		}
	}
	c := &client{device: newHistory().device("u", "u/1", false)}
	conn, err := c.connect(ctx, s.node)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	push()
	read(conn, text("u", 1))
	p.stall()
	st := push()
	wait(t, time.Minute, func() error { return s.hasRead(ctx, "u", st.Offset) })
	if n := p.holds("u"); n != 1 {
		t.Errorf("holds %d messages", n)
	}
	p.fail()
	if _, b, err := conn.Read(ctx); err == nil {
		t.Errorf("received %q", b)
	}
	again, err := c.connect(ctx, s.node)
	if err != nil {
		t.Fatal(err)
	}
	defer again.CloseNow()
	push()
	read(again, text("u", 3))
}
