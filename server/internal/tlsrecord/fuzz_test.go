package tlsrecord

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// Whatever happens to the ciphertext, Open returns a prefix of what was sent, and after
// the first change nothing more. It does not panic.
func FuzzOpen(f *testing.F) {
	f.Add(uint8(0), []byte("hello"), uint16(3), uint8(1), uint16(9), false)
	f.Add(uint8(1), []byte("hello, hello, hello"), uint16(30), uint8(0x80), uint16(40), true)
	f.Add(uint8(2), []byte{}, uint16(0), uint8(0xff), uint16(1), false)
	f.Fuzz(func(t *testing.T, suite uint8, text []byte, at uint16, xor uint8, cut uint16, update bool) {
		server, client := pair(t, suites[int(suite)%len(suites)].id)
		half := len(text) / 2
		wire := client.seal(text[:half])
		if update {
			wire = client.sealKeyUpdate(noCache, noon, wire, updateRequested)
		}
		wire = append(wire, client.seal(text[half:])...)
		wire = client.SealAlert(noCache, noon, wire, CloseNotify)
		i := int(at) % len(wire)
		wire[i] ^= xor
		end := int(cut) % (len(wire) + 1)
		first, rest, err := server.open(wire[:end])
		got := bytes.Clone(first)
		if err == nil {
			first, rest, err = server.open(append(bytes.Clone(rest), wire[end:]...))
			got = append(got, first...)
		}
		if !bytes.HasPrefix(text, got) {
			t.Fatalf("Open returned %q, which was not sent: %q", got, text)
		}
		if xor == 0 && (!bytes.Equal(got, text) || err != io.EOF) {
			t.Fatalf("Open = %q, %v, want %q", got, err, text)
		}
		if xor != 0 && err == io.EOF {
			t.Fatalf("a change at %d was not noticed", i)
		}
		var e *Error
		if err != nil && err != io.EOF && !errors.As(err, &e) {
			t.Fatalf("unexpected error %v", err)
		}
		if err == nil && rest == nil {
			t.Fatal("neither an error nor a rest")
		}
	})
}

// Bytes that no peer has sealed are never opened.
func FuzzOpenForeign(f *testing.F) {
	f.Add([]byte{23, 3, 3, 0, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte("GET / HTTP/1.1\r\n"))
	f.Add([]byte{23, 3, 3, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		for i := range suites {
			server, _ := pair(t, suites[i].id)
			if plain, _, _ := server.open(b); len(plain) > 0 {
				t.Fatalf("Open(% x) = % x", b, plain)
			}
		}
	})
}

// Any content under a valid tag is either accepted by the rules or answered with an alert.
func FuzzContent(f *testing.F) {
	f.Add([]byte{24, 0, 0, 1, 1, 22}, []byte{24, 0, 22})
	f.Add([]byte{1, 0, 21}, []byte{0, 0})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		if len(a) > MaxPlaintext || len(b) > MaxPlaintext {
			return
		}
		server, client := pair(t, suites[0].id)
		wire := append(client.sealInner(ordinary, a), client.sealInner(ordinary, b)...)
		plain, rest, err := server.open(wire)
		if len(plain) > len(a)+len(b) || err == nil && len(rest) > 0 {
			t.Fatalf("%d bytes, rest %d, %v", len(plain), len(rest), err)
		}
	})
}
