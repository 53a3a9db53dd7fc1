package load

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func newClient(t *testing.T, s *liar) *Client {
	t.Helper()
	c, err := New(Config{Addr: s.addr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func dial(t *testing.T, c *Client, n int) {
	t.Helper()
	r := c.Dial(DialPlan{Count: n, Window: 4, Path: "/echo", Limit: 10 * time.Second})
	if f := c.Faults(); f.Err() != nil || r.Opened != n {
		t.Fatalf("%d of %d opened: %v", r.Opened, n, f.Err())
	}
}

func short(size, depth int) EchoPlan {
	return EchoPlan{InFlight: 3, Depth: depth, Size: size, Time: 50 * time.Millisecond, Grace: 5 * time.Second}
}

// echo runs a plan again until at least one message is counted: on a busy machine, none may return in the measured time.
func echo(t *testing.T, c *Client, plan EchoPlan, mark func()) (r EchoResult) {
	t.Helper()
	for range 100 {
		if r = c.Echo(plan, mark); r.Messages > 0 || c.faults.Total() > 0 {
			return r
		}
	}
	t.Fatal("no message returned in 100 runs")
	return r
}

func TestEchoHonest(t *testing.T) {
	for _, tt := range []struct {
		name        string
		size, depth int
	}{{"short", 60, 1}, {"16 bits", 200, 1}, {"64 bits", 70_000, 1}, {"pipelined", 128, 16}, {"longer than the buffer", 300_000, 3}} {
		t.Run(tt.name, func(t *testing.T) {
			s := newLiar(t)
			c := newClient(t, s)
			dial(t, c, 10)
			marks := 0
			plan := short(tt.size, tt.depth)
			plan.Time *= time.Duration(1 + tt.size/10_000)
			r := echo(t, c, plan, func() { marks++ })
			f := c.Faults()
			if f.Err() != nil || marks == 0 || marks%2 != 0 {
				t.Fatalf("%d messages, %d marks: %v", r.Messages, marks, f.Err())
			}
			if n := int(r.Latency.TotalCount()); n != r.Messages {
				t.Errorf("%d latencies of %d messages", n, r.Messages)
			}
		})
	}
}

// TestEchoFindsOut runs a server that makes one mistake in a hundred answers.
func TestEchoFindsOut(t *testing.T) {
	once := func(lie func(op byte, p []byte) [][]byte) func(*liar) {
		return func(s *liar) {
			n := 0
			s.answer = func(op byte, p []byte) [][]byte {
				if n++; n == 100 {
					return lie(op, p)
				}
				return [][]byte{rawFrame(0x80|op, p)}
			}
		}
	}
	var kept []byte
	tests := []struct {
		name  string
		lie   func(*liar)
		count func(Faults) int
	}{
		{"nothing comes back", once(func(byte, []byte) [][]byte { return nil }), func(f Faults) int { return f.Lost + f.Late }},
		{"comes back twice", once(func(op byte, p []byte) [][]byte { f := rawFrame(0x80|op, p); return [][]byte{f, f} }),
			func(f Faults) int { return f.Duplicated + f.Foreign }},
		{"a byte of the filling changes", once(func(op byte, p []byte) [][]byte {
			p[50] ^= 1
			return [][]byte{rawFrame(0x80|op, p)}
		}), func(f Faults) int { return f.Corrupt }},
		{"cut short", once(func(op byte, p []byte) [][]byte { return [][]byte{rawFrame(0x80|op, p[:40])} }), func(f Faults) int { return f.Corrupt }},
		{"another whole message", once(func(op byte, p []byte) [][]byte {
			return [][]byte{rawFrame(0x80|op, Message{Kind: KindEcho, Target: 99}.Append(nil, len(p)))}
		}), func(f Faults) int { return f.Foreign }},
		{"text comes back as binary", once(func(_ byte, p []byte) [][]byte { return [][]byte{rawFrame(0x82, p)} }), func(f Faults) int { return f.Corrupt }},
		{"masked", once(func(op byte, p []byte) [][]byte { f := rawFrame(0x80|op, p); f[1] |= 0x80; return [][]byte{f} }),
			func(f Faults) int { return f.Protocol }},
		{"a fragment changes", once(func(op byte, p []byte) [][]byte {
			p[50] ^= 1
			return [][]byte{rawFrame(op, p[:40]), rawFrame(0x80, p[40:])}
		}), func(f Faults) int { return f.Corrupt }},
		{"the last fragment is missing", once(func(op byte, p []byte) [][]byte { return [][]byte{rawFrame(op, p)} }),
			func(f Faults) int { return f.Protocol }},
		{"the first fragment is missing", once(func(op byte, p []byte) [][]byte { return [][]byte{rawFrame(0x80, p)} }),
			func(f Faults) int { return f.Protocol }},
		{"a fragment of a ping", once(func(op byte, p []byte) [][]byte { return [][]byte{rawFrame(0x09, nil), rawFrame(0x80|op, p)} }),
			func(f Faults) int { return f.Protocol }},
		{"fragments without end", once(func(op byte, p []byte) [][]byte {
			half := make([]byte, MaxSize/2+1)
			return [][]byte{rawFrame(op, half), rawFrame(0, half), rawFrame(0, half)}
		}), func(f Faults) int { return f.Protocol }},
		{"a close frame", once(func(byte, []byte) [][]byte { return [][]byte{rawFrame(0x88, []byte{3, 233})} }), func(f Faults) int { return f.Closed }},
		{"changes places", func(s *liar) {
			n := 0
			s.answer = func(op byte, p []byte) [][]byte {
				switch n++; n {
				case 100:
					kept = rawFrame(0x80|op, p)
					return nil
				case 101:
					return [][]byte{rawFrame(0x80|op, p), kept}
				}
				return [][]byte{rawFrame(0x80|op, p)}
			}
		}, func(f Faults) int { return f.Reordered }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newLiar(t, tt.lie)
			c := newClient(t, s)
			dial(t, c, 1)
			plan := short(64, 8)
			plan.InFlight, plan.Grace = 1, 200*time.Millisecond
			// Repeat until the faulty answer was sent: a busy machine may need several runs.
			for range 100 {
				if c.Echo(plan, func() {}); c.faults.Total() > 0 {
					break
				}
			}
			f := c.Faults()
			if tt.count(f) == 0 {
				t.Errorf("not detected: %+v", f)
			}
		})
	}
}

func TestHandshakeFindsOut(t *testing.T) {
	for name, greet := range map[string]func(string) string{
		"refused":       func(string) string { return "HTTP/1.1 503 Service Unavailable\r\n\r\n" },
		"wrong accept":  func(a string) string { return strings.Replace(a, "Accept: ", "Accept: x", 1) },
		"no accept":     func(a string) string { return strings.Replace(a, "Sec-WebSocket-Accept", "X", 1) },
		"no upgrade":    func(a string) string { return strings.Replace(a, "upgrade: WebSocket\r\n", "", 1) },
		"no connection": func(a string) string { return strings.Replace(a, "Connection", "X", 1) },
		"an extension": func(a string) string {
			return strings.Replace(a, "Connection", "Sec-WebSocket-Extensions: x\r\nConnection", 1)
		},
		"endless": func(a string) string { return a[:len(a)-4] + strings.Repeat("\r\nX: y", 8000) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newLiar(t, func(s *liar) { s.greet = greet })
			c := newClient(t, s)
			r := c.Dial(DialPlan{Count: 3, Window: 2, Path: "/echo", Limit: 5 * time.Second})
			if f := c.Faults(); f.Refused != 3 || r.Opened != 0 || c.Live() != 0 {
				t.Errorf("%d opened, %d live, faults %+v", r.Opened, c.Live(), f)
			}
		})
	}
}

// Bytes that follow the handshake response in the same segment are frames.
func TestMessageAfterHandshake(t *testing.T) {
	s := newLiar(t, func(s *liar) {
		s.greet = func(a string) string { return a + string(rawFrame(0x89, []byte("now"))) }
	})
	c := newClient(t, s)
	dial(t, c, 1)
	c.Rest(func() bool { return c.pings > 0 })
	if n := c.Pings(); n != 1 {
		t.Errorf("%d pings answered", n)
	}
}

func TestDialRefused(t *testing.T) {
	s := newLiar(t)
	c := newClient(t, s)
	c.cfg.Addr = unusedAddr(t)
	c.Dial(DialPlan{Count: 2, Window: 2, Path: "/", Limit: 5 * time.Second})
	if f := c.Faults(); f.Refused != 2 {
		t.Errorf("faults %+v", f)
	}
}

func TestEchoPathCosts(t *testing.T) {
	s := newLiar(t)
	c := newClient(t, s)
	dial(t, c, 1)
	k := &c.conns[0]
	frame := rawFrame(0x81, Message{Kind: KindEcho, Target: k.user}.Append(nil, 128))
	e := &echoing{c: c, plan: EchoPlan{Size: 128, Depth: 1}, ring: []int32{0}, latency: newHistogram(), to: never, over: true}
	c.phase = e
	in := bytes.Clone(frame)
	n := testing.AllocsPerRun(100, func() {
		copy(in, frame)
		k.sent, k.echo = 1, startingAt(0)
		c.feed(k, in)
	})
	if n != 0 || e.counted != 101 {
		t.Errorf("%v allocations per echo received, %d counted", n, e.counted)
	}
	if f := c.Faults(); f.Err() != nil {
		t.Error(f.Err())
	}
}
