package frame

import (
	"bytes"
	"compress/flate"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/gobwas/ws"
)

// masked returns a client's frame.
func masked(b0 byte, payload []byte) []byte {
	out := appendHeader(nil, b0, len(payload))
	out[1] |= bitMask
	mask := [4]byte{1, 2, 3, 4}
	out = append(out, mask[:]...)
	p := append([]byte(nil), payload...)
	ws.Cipher(p, mask, 0)
	return append(out, p...)
}

// conversation returns what a client sends, compressed with a context: fragments with control
// frames between them, blocks with stored, fixed and dynamic codes.
func conversation(t *testing.T) []byte {
	t.Helper()
	var z bytes.Buffer
	w, err := flate.NewWriter(&z, 9)
	if err != nil {
		t.Fatal(err)
	}
	deflated := func(text string) []byte {
		z.Reset()
		w.Write([]byte(text))
		w.Flush()
		return bytes.TrimSuffix(z.Bytes(), []byte(deflateTail))
	}
	fin, rsv := byte(bitFIN), byte(bitRSV1)
	var in []byte
	in = append(in, masked(fin|byte(ws.OpText), []byte("plain Ä"))...)
	in = append(in, masked(byte(ws.OpText), []byte("fragments "))...)
	in = append(in, masked(fin|byte(ws.OpPing), []byte("ping"))...)
	in = append(in, masked(fin, []byte("äöü"))...)
	long := strings.Repeat("the quick brown fox jumps over the lazy dog, again and again; ", 4) + "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich"
	c := deflated(long)
	in = append(in, masked(rsv|byte(ws.OpText), c[:len(c)/2])...)
	in = append(in, masked(fin|byte(ws.OpPong), []byte("between"))...)
	in = append(in, masked(fin, c[len(c)/2:])...)
	in = append(in, masked(fin|rsv|byte(ws.OpText), deflated(long))...) // refers to the context
	in = append(in, masked(fin|rsv|byte(ws.OpBinary), deflated("ab"))...)
	in = append(in, masked(fin|byte(ws.OpClose), []byte{3, 232})...)
	return in
}

// read returns the messages of in, in a form that can be compared.
func read(t *testing.T, d *Decoder, r *Rules, in []byte) (all []string) {
	t.Helper()
	for in = append([]byte(nil), in...); ; {
		m, n, err := d.Next(r, in)
		in = in[n:]
		if err != nil {
			return append(all, err.Error())
		}
		if m.Op != 0 {
			all = append(all, string(rune('0'+m.Op))+string(m.Payload))
		} else if len(in) == 0 {
			return all
		}
	}
}

// handOver returns a decoder with the state of d, by way of JSON.
func handOver(t *testing.T, d *Decoder, r *Rules) *Decoder {
	t.Helper()
	b, err := json.Marshal(d.Export())
	if err != nil {
		t.Fatal(err)
	}
	var st *DecoderState
	if err := json.Unmarshal(b, &st, json.RejectUnknownMembers(true)); err != nil {
		t.Fatal(err)
	}
	next := new(Decoder)
	if err := next.Import(r, st); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	return next
}

func TestExportAtEveryByte(t *testing.T) {
	in := conversation(t)
	r := &Rules{Deflate: Deflate{ContextBits: 15}}
	start := func() *Decoder {
		d := new(Decoder)
		d.Start(Params{ServerBits: 15, ContextBits: 15})
		return d
	}
	d := start()
	want := read(t, d, r, in)
	d.Release()
	if len(want) != 8 {
		t.Fatalf("the conversation has %d messages: %q", len(want), want)
	}
	for cut := range in {
		d := start()
		got := read(t, d, r, in[:cut])
		next := handOver(t, d, r)
		d.Release()
		got = append(got, read(t, next, r, in[cut:])...)
		next.Release()
		if strings.Join(got, "|") != strings.Join(want, "|") {
			t.Fatalf("cut at %d of %d: got %q, want %q", cut, len(in), got, want)
		}
	}
}

func TestExportOfFaults(t *testing.T) {
	r := new(Rules)
	d := new(Decoder)
	want := read(t, d, r, []byte{0x81, 0x01, 'x'})
	got := read(t, handOver(t, d, r), r, []byte("more"))
	if len(want) != 1 || len(got) != 1 || !strings.Contains(got[0], "1002") {
		t.Fatalf("before %q, after %q: want 1002 both times", want, got)
	}
	if new(Decoder).Export() != nil {
		t.Fatal("a decoder at rest has a state")
	}
}

func FuzzImport(f *testing.F) {
	in := conversation(&testing.T{})
	r := &Rules{Deflate: Deflate{ContextBits: 15}}
	for cut := 0; cut < len(in); cut += 7 {
		d := new(Decoder)
		d.Start(Params{ServerBits: 15, ContextBits: 15})
		for b := append([]byte(nil), in[:cut]...); len(b) > 0; {
			_, n, _ := d.Next(r, b)
			b = b[n:]
		}
		b, err := json.Marshal(d.Export())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, in[cut:])
	}
	f.Fuzz(func(t *testing.T, state, rest []byte) {
		var st *DecoderState
		if json.Unmarshal(state, &st) != nil {
			return
		}
		var d Decoder
		if d.Import(r, st) != nil {
			return
		}
		for len(rest) > 0 {
			_, n, err := d.Next(r, rest)
			if rest = rest[n:]; err != nil {
				break
			}
		}
		d.Release()
	})
}
