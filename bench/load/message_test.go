package load

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestMessageRoundTrip(t *testing.T) {
	for _, size := range []int{MinSize, MinSize + 1, 125, 126, 128, 65535, 65536, MaxSize} {
		want := Message{Kind: KindUser, Target: 1<<28 - 1, Seq: 1<<32 - 1, At: 1<<62 + 12345}
		p := want.Append(nil, size)
		if len(p) != size {
			t.Fatalf("%d bytes, not %d", len(p), size)
		}
		if !utf8.Valid(p) || !json.Valid(p) {
			t.Errorf("%d bytes: neither text nor JSON: %.80q", size, p)
		}
		if got, ok := Parse(p); !ok || got != want {
			t.Errorf("%d bytes: got %+v, %t", size, got, ok)
		}
		if got, ok := Parse(append(p, '\n')); !ok || got != want {
			t.Errorf("%d bytes and a line feed: got %+v, %t", size, got, ok)
		}
	}
}

// Every wrong byte is detected, except in the numbers, which are then unexpected.
func TestParseFindsEveryWrongByte(t *testing.T) {
	p := Message{Kind: KindEcho, Target: 7, Seq: 8, At: 9}.Append(nil, 200)
	for i := range p {
		if i >= 1 && i < headSize {
			continue
		}
		q := bytes.Clone(p)
		q[i] ^= 1
		if _, ok := Parse(q); ok {
			t.Errorf("byte %d: %q passes for %q", i, q[i], p[i])
		}
	}
}

func TestParseRefuses(t *testing.T) {
	good := string(Message{Kind: KindEcho}.Append(nil, 60))
	for name, p := range map[string]string{
		"empty":             "",
		"short":             good[:MinSize-1],
		"cut":               good[:len(good)-1],
		"no quote":          "x" + good[1:],
		"two line feeds":    good + "\n\n",
		"digit in capitals": strings.Replace(good, `"E0`, `"EA`, 1),
		"not a digit":       strings.Replace(good, `"E0`, `"Eg`, 1),
		"longer":            good[:len(good)-1] + `x"`,
	} {
		if m, ok := Parse([]byte(p)); ok {
			t.Errorf("%s: parsed as %+v", name, m)
		}
	}
}

func TestMessageCosts(t *testing.T) {
	m := Message{Kind: KindEcho, Target: 7, Seq: 8, At: 9}
	b := make([]byte, 0, 256)
	if n := testing.AllocsPerRun(100, func() { b = m.Append(b[:0], 128); Parse(b) }); n != 0 {
		t.Errorf("%v allocations per message", n)
	}
}
