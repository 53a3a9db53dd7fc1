package netpoll

import "testing"

func TestTransportNames(t *testing.T) {
	for k, name := range map[Transport]string{Default: "default", Epoll: "epoll", Easygo: "easygo", Goroutine: "goroutine"} {
		if k.String() != name {
			t.Errorf("%d is called %q, want %q", k, k, name)
		}
		if got, err := ParseTransport(name); got != k || err != nil {
			t.Errorf("ParseTransport(%q) = %v, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "Epoll", "kqueue", "Transport(9)"} {
		if _, err := ParseTransport(name); err == nil {
			t.Errorf("ParseTransport(%q) succeeds", name)
		}
	}
	if s := Transport(9).String(); s != "Transport(9)" {
		t.Errorf("Transport(9) is called %q", s)
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
