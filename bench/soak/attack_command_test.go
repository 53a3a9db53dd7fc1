package main

import (
	"testing"
	"time"

	"fanfare/bench/soak/attack"

	"github.com/alecthomas/kong"
)

// TestDefaults checks that the default time is enough for all attacks, and that the first runs leave time to repeat some.
func TestDefaults(t *testing.T) {
	var p program
	k, err := kong.New(&p, options()...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Parse([]string{"attack"}); err != nil {
		t.Fatal(err)
	}
	n := len(attack.All(false))
	cfg, err := p.Attack.config(n)
	if err != nil {
		t.Fatal(err)
	}
	first := time.Duration(n) * (cfg.Before + cfg.During + between)
	if total := time.Duration(p.Attack.Minutes * float64(time.Minute)); first > total*8/10 {
		t.Errorf("the first runs take %v of %v", first, total)
	}
	if cfg.Clients != 500 || !cfg.Judge {
		t.Errorf("%+v", cfg)
	}
}

func TestConfig(t *testing.T) {
	for name, tt := range map[string]struct {
		minutes float64
		clients int
		ok      bool
	}{
		"enough":            {1, 1000, true},
		"too short":         {0.3, 1000, false},
		"too few clients":   {1, 10, false},
		"not a multiple":    {1, 1010, false},
		"another multiple":  {1, 40, true},
		"no clients at all": {1, 0, false},
		"no time at all":    {0, 1000, false},
		"negative time":     {-1, 1000, false},
		"hours":             {600, 1000, true},
	} {
		c := attackCommand{Minutes: tt.minutes, Clients: tt.clients}
		if _, err := c.config(1); (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestDoubtful: attacks whose latency did not hold are repeated, except where a bound is broken that does not depend on
// time.
func TestDoubtful(t *testing.T) {
	second := func(attacked int) attack.Second {
		of := func(micros int) attack.Healthy {
			return attack.Healthy{Echo: attack.Latencies{{micros, 500}}, Push: attack.Latencies{{micros, 500}}}
		}
		return attack.Second{Attacked: of(attacked), Twin: of(200)}
	}
	result := func(seconds, attacked int) *attack.Result {
		r := &attack.Result{Tries: 1}
		for range seconds {
			r.Before, r.During = append(r.Before, second(200)), append(r.During, second(attacked))
		}
		return r
	}
	broken := result(12, 5000)
	broken.Broken = []string{"a connection is lost"}
	slow := result(12, 210)
	slow.Slow = []string{"the attackers had too little processor time"}
	for name, tt := range map[string]struct {
		r       *attack.Result
		verdict attack.Verdict
		want    bool
	}{
		"held":            {result(12, 210), attack.Held, false},
		"exceeded":        {result(12, 5000), attack.Exceeded, true},
		"too few seconds": {result(2, 210), attack.Undecided, true},
		"too weak":        {slow, attack.Undecided, true},
		"broken":          {broken, attack.Exceeded, false},
	} {
		if got, verdict := doubtful(tt.r), tt.r.Compare(); got != tt.want || verdict != tt.verdict {
			t.Errorf("%s: %v, %v", name, got, verdict)
		}
	}
}
