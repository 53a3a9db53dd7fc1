package load

import "testing"

// A message may come in several frames, with control frames between them (RFC 6455 section 5.4). gorilla's WriteJSON, for
// one, fragments what is longer than its buffer.
func TestEchoFragmented(t *testing.T) {
	ping := rawFrame(0x89, nil)
	for _, tt := range []struct {
		name string
		cut  func(op byte, p []byte) [][]byte
	}{
		{"two", func(op byte, p []byte) [][]byte { return [][]byte{rawFrame(op, p[:40]), rawFrame(0x80, p[40:])} }},
		{"empty ones", func(op byte, p []byte) [][]byte {
			return [][]byte{rawFrame(op, nil), rawFrame(0, p), rawFrame(0, nil), rawFrame(0x80, nil)}
		}},
		{"pings between", func(op byte, p []byte) [][]byte {
			return [][]byte{rawFrame(op, p[:40]), ping, rawFrame(0, p[40:41]), ping, rawFrame(0x80, p[41:])}
		}},
		{"in one segment", func(op byte, p []byte) [][]byte {
			return [][]byte{append(rawFrame(op, p[:1]), rawFrame(0x80, p[1:])...)}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newLiar(t, func(s *liar) {
				s.answer = func(op byte, p []byte) [][]byte {
					if op == opPong {
						return nil
					}
					return tt.cut(op, p)
				}
			})
			c := newClient(t, s)
			dial(t, c, 10)
			echo(t, c, short(200, 3), func() {})
			if f := c.Faults(); f.Err() != nil {
				t.Error(f.Err())
			}
		})
	}
}

// However the stream is cut, the message is complete, and nothing is allocated for it.
func TestFragmentsCost(t *testing.T) {
	s := newLiar(t)
	c := newClient(t, s)
	dial(t, c, 1)
	k := &c.conns[0]
	p := Message{Kind: KindEcho, Target: k.user}.Append(nil, 128)
	stream := append(rawFrame(0x01, p[:50]), rawFrame(0x80, p[50:])...)
	e := &echoing{c: c, plan: EchoPlan{Size: 128, Depth: 1}, ring: []int32{0}, latency: newHistogram(), to: never, over: true}
	c.phase = e
	for cut := range len(stream) + 1 {
		before := e.counted
		n := testing.AllocsPerRun(10, func() {
			k.sent, k.echo = 1, startingAt(0)
			c.take(k, stream[:cut])
			c.take(k, stream[cut:])
		})
		if n != 0 || e.counted != before+11 || k.part != nil {
			t.Fatalf("cut at %d: %v allocations, %d of 11 counted, %+v left", cut, n, e.counted-before, k.part)
		}
	}
	if f := c.Faults(); f.Err() != nil || len(c.parts) != 1 {
		t.Errorf("%v, %d parts", f.Err(), len(c.parts))
	}
}
