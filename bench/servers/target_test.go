package servers

import "testing"

func TestParseTarget(t *testing.T) {
	tests := []struct {
		arg, api         string
		name, addr, path string
		asked, answer    string
		pushes, wrong    bool
	}{
		{arg: "ws://127.0.0.1:99", name: "target", addr: "127.0.0.1:99", asked: "/echo", answer: "/echo"},
		{arg: "ws://127.0.0.1:99/", name: "target", addr: "127.0.0.1:99", asked: "/echo", answer: "/echo"},
		{arg: "ws://127.0.0.1", name: "target", addr: "127.0.0.1:80"},
		{arg: "ws://[::1]:99/chat?x=y", name: "target", addr: "[::1]:99", path: "/chat?x=y", asked: "/ws?user={user}", answer: "/chat?x=y"},
		{arg: "mine=ws://127.0.0.1:99/chat", api: "http://127.0.0.1:98/", name: "mine", addr: "127.0.0.1:99", path: "/chat", pushes: true},
		{arg: "ws://127.0.0.1:99/a=b", name: "target", addr: "127.0.0.1:99", path: "/a=b"},
		{arg: "http://127.0.0.1:99", wrong: true},
		{arg: "wss://127.0.0.1:99", wrong: true},
		{arg: "mine=", wrong: true},
		{arg: "ws://", wrong: true},
		{arg: "ws://127.0.0.1:http", wrong: true},
	}
	for _, tt := range tests {
		t.Run(tt.arg, func(t *testing.T) {
			spec, err := ParseTarget(tt.arg, tt.api)
			if tt.wrong {
				if err == nil {
					t.Errorf("%+v", spec)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if spec.Name != tt.name || spec.Target.Addr.String() != tt.addr || spec.Target.Path != tt.path || spec.Pushes != tt.pushes {
				t.Errorf("%+v, %+v", spec, spec.Target)
			}
			s := &Server{path: spec.Target.Path}
			if got := s.Path(tt.asked, false); got != tt.answer && tt.asked != "" {
				t.Errorf("for %s it asks %s", tt.asked, got)
			}
		})
	}
}

func TestFind(t *testing.T) {
	c := Catalog{Self: "x"}
	specs, err := c.Find([]string{"gws", "floor1"})
	if err != nil || len(specs) != 2 {
		t.Errorf("%+v: %v", specs, err)
	}
	for _, bad := range []string{"x", "fanfare-epoll"} { // the latter without a program
		if _, err := c.Find([]string{bad}); err == nil {
			t.Errorf("%s is found", bad)
		}
	}
	for _, s := range c.All() {
		if s.Name == "" || s.About == "" || len(s.Args(Addresses{Listen: "a", API: "b"}, PingInterval)) < 5 {
			t.Errorf("%+v", s)
		}
	}
}

func TestTail(t *testing.T) {
	var log tail
	for range 3 {
		log.Write(make([]byte, tailSize))
	}
	log.Write([]byte("the end"))
	if s := log.String(); len(s) != tailSize || s[len(s)-7:] != "the end" {
		t.Errorf("%d bytes, ending in %q", len(s), s[len(s)-7:])
	}
}
