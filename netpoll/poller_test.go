package netpoll

import "testing"

func TestKindNames(t *testing.T) {
	for k, name := range map[Kind]string{Default: "default", Epoll: "epoll", Easygo: "easygo", Goroutine: "goroutine"} {
		if k.String() != name {
			t.Errorf("%d is called %q, want %q", k, k, name)
		}
		if got, err := ParseKind(name); got != k || err != nil {
			t.Errorf("ParseKind(%q) = %v, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "Epoll", "kqueue", "Kind(9)"} {
		if _, err := ParseKind(name); err == nil {
			t.Errorf("ParseKind(%q) succeeds", name)
		}
	}
	if s := Kind(9).String(); s != "Kind(9)" {
		t.Errorf("Kind(9) is called %q", s)
	}
}

func TestConfig(t *testing.T) {
	tests := []struct {
		name string
		cfg  Config
		ok   bool
	}{
		{"zero", Config{}, true},
		{"least", Config{Workers: 1, QueueBytes: 1 << 10, ReadBuffer: 1 << 10}, true},
		{"negative workers", Config{Workers: -1}, false},
		{"too many workers", Config{Workers: 1<<16 + 1}, false},
		{"tiny queue", Config{QueueBytes: 1}, false},
		{"huge queue", Config{QueueBytes: 1<<30 + 1}, false},
		{"tiny buffer", Config{ReadBuffer: 1023}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := tt.cfg
			err := cfg.validate()
			if (err == nil) != tt.ok {
				t.Errorf("validate: %v", err)
			}
			if err == nil && (cfg.Workers == 0 || cfg.QueueBytes == 0 || cfg.ReadBuffer == 0 || cfg.Transport == Default || cfg.Logger == nil) {
				t.Errorf("not all is set: %+v", cfg)
			}
			if e, err := New(tt.cfg); err == nil {
				if !tt.ok {
					t.Error("New takes it")
				}
				e.Close()
				if err := e.Close(); err != nil {
					t.Errorf("a second Close: %v", err)
				}
			}
		})
	}
}
